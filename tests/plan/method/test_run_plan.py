"""The run plan: batches and steps."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.method.dataset import DataKind, DatasetInfo, DataSource
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.run_plan import RunPlan, split_node_batch
from tests.samples import sample_plan


def test_batches_multiply() -> None:
    plan = sample_plan(nodes=3, ranks_per_node=2, rank_batch=4)
    assert (plan.ranks, plan.node_batch, plan.global_batch) == (6, 8, 24)
    # 80 images: three whole batches of 24, and 8 images of the next epoch's first.
    assert plan.steps_per_epoch == 80 / 24
    assert [plan.epoch_end(epoch) for epoch in range(5)] == [0, 3, 7, 10, 13]
    assert [plan.epochs_ended(step) for step in (0, 2, 3, 6, 7, 12, 13)] == [0, 0, 1, 1, 2, 3, 4]


def test_accumulated_batches_count_and_the_schedule_counts_updates() -> None:
    plan = sample_plan(rank_batch=4, accumulate=5)
    assert (plan.rank_batch, plan.node_batch, plan.global_batch) == (4, 40, 40)
    assert plan.steps_per_epoch == 2
    assert plan.schedule == sample_plan(rank_batch=20).schedule


def test_a_run_may_end_before_its_recipe_and_keeps_its_schedule() -> None:
    plan = sample_plan(stop_after_steps=5)
    assert plan.total_steps == 5
    assert plan.schedule == sample_plan().schedule
    assert sample_plan(stop_after_steps=10**6).total_steps == sample_plan().total_steps


@given(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(0, 500), st.integers(0, 10**6))
def test_an_epoch_ends_at_the_update_nearest_to_its_last_image(
    images: int, batch: int, epoch: int, step: int
) -> None:
    assume(batch <= images)
    dataset = DatasetInfo(train_images=images, validation_images=1, classes=10)
    plan = sample_plan(ranks_per_node=1, rank_batch=batch, dataset=dataset)
    assert plan.epoch_images == images
    assert 2 * abs(plan.epoch_end(epoch) * batch - epoch * images) <= batch
    assert plan.epoch_end(epoch) < plan.epoch_end(epoch + 1)
    ended = plan.epochs_ended(step)
    assert plan.epoch_end(ended) <= step < plan.epoch_end(ended + 1)
    assert plan.epochs_ended(plan.epoch_end(epoch)) == epoch


@pytest.mark.parametrize(
    ("kind", "train", "validation", "every"),
    [
        # ImageNet: 16,667 images' time to 1,281,167 are 1.3 %.
        ("tfrecords", 1_281_167, 50_000, 1),
        # CIFAR-10: 3,333 to 50,000 are 6.7 %, and every other epoch 3.3 %.
        ("folders", 50_000, 10_000, 2),
        ("folders", 1000, 3000, 20),
        ("folders", 1000, 3001, 21),
        ("synthetic", 80, 1000, 1),
    ],
)
def test_evaluations_cost_at_most_a_twentieth_of_the_time(
    kind: DataKind, train: int, validation: int, every: int
) -> None:
    dataset = DatasetInfo(train_images=train, validation_images=validation, classes=10)
    plan = sample_plan(source=DataSource(kind=kind, path="/d"), dataset=dataset)
    assert plan.evaluate_epochs == every
    assert sample_plan(dataset=dataset, evaluate_epochs=3).evaluate_epochs == 3


def test_a_plan_survives_json() -> None:
    plan = sample_plan()
    assert msgspec.json.decode(msgspec.json.encode(plan), type=RunPlan) == plan


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rank_batch": 41}, "global batch"),
        ({"rank_batch": 4, "accumulate": 11}, "global batch"),
        ({"model": ModelSpec(name="small", image_size=32, classes=9)}, "--classes"),
        ({"epochs": 0.001}, "--epochs"),
    ],
)
def test_an_impossible_plan_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        sample_plan(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize(("node_batch", "ranks", "nearest"), [(33, 2, 32), (1, 4, 4), (0, 1, 1)])
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest(
    node_batch: int, ranks: int, nearest: int
) -> None:
    with pytest.raises(InputError) as caught:
        split_node_batch(node_batch, ranks)
    assert caught.value.fix == f"--node-batch {nearest}"
    assert split_node_batch(nearest, ranks) * ranks == nearest
