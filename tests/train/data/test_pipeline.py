"""Batches of one rank: the right examples, the right labels, and what corrupt images do to them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hvdtrain.errors import RunError
from hvdtrain.plan.method.dataset import DatasetInfo
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.phase import Phase
from hvdtrain.plan.method.recipe import Recipe
from hvdtrain.plan.method.run_plan import RunPlan
from tests.samples import sample_plan
from tests.train.data.images import cut_off, write_folders

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.data import sampler as order  # noqa: E402
from hvdtrain.train.data.dataset import discover  # noqa: E402
from hvdtrain.train.data.folders import list_folders  # noqa: E402
from hvdtrain.train.data.pipeline import ImagePipeline, Pipeline, open_pipeline  # noqa: E402
from hvdtrain.train.data.prepare import PrepareJob, prepare  # noqa: E402
from hvdtrain.train.data.shardwriter import Progress  # noqa: E402
from hvdtrain.train.data.synthetic import SyntheticData  # noqa: E402

pytestmark = pytest.mark.tf

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

QUIET = Progress(
    started=lambda *_: None,
    advanced=lambda *_: None,
    finished=lambda *_: None,
    corrupt=lambda *_: None,
    unread=lambda *_: None,
)


def recipe(*augment: bool) -> Recipe:
    """One epoch for each phase."""
    phases = tuple(
        Phase(name=str(i), epochs=1, start=1.0, end=1.0, weight_decay=0.0, augment=on)
        for i, on in enumerate(augment)
    )
    return Recipe(name="test", title="test", source="test", phase=phases)


def plan_for(
    path: Path, *augment: bool, ranks: int = 2, rank_batch: int = 4, accumulate: int = 1
) -> RunPlan:
    source, dataset = discover(path)
    return sample_plan(
        source=source,
        dataset=dataset,
        ranks_per_node=ranks,
        rank_batch=rank_batch,
        accumulate=accumulate,
        recipe=recipe(*(augment or (True, True))),
        model=ModelSpec(name="small", image_size=16, classes=10),
    )


def training(pipeline: Pipeline, first_step: int = 0, steps: int | None = None) -> list[Batch]:
    batches = itertools.islice(pipeline.training(first_step), steps)
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def validation(pipeline: Pipeline) -> list[Batch]:
    return [(images.numpy(), labels.numpy()) for images, labels in pipeline.validation()]


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(images, others) and np.array_equal(labels, other_labels)
        for (images, labels), (others, other_labels) in zip(left, right, strict=True)
    )


def open_images(plan: RunPlan, rank: int = 0) -> ImagePipeline:
    pipeline = open_pipeline(plan, rank, threads=2)
    assert isinstance(pipeline, ImagePipeline)
    return pipeline


def in_order(plan: RunPlan) -> Callable[[int], order.Examples]:
    return lambda epoch: order.permute(18, plan.seed, epoch)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 training and 10 validation images of two classes."""
    return write_folders(tmp_path_factory.mktemp("folders"), train=9, validation=5)


@pytest.fixture(scope="module")
def shards(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    prepare(PrepareJob(folders, path, train_shards=3, validation_shards=2), QUIET)
    return path


@pytest.fixture(params=["folders", "shards"])
def data(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture
def own_folders(tmp_path: Path) -> Path:
    """The same, for a test that damages it."""
    return write_folders(tmp_path / "data", train=9, validation=5)


def test_every_rank_has_the_planned_steps_of_full_batches(data: Path) -> None:
    plan = plan_for(data)
    assert (plan.steps_per_epoch, plan.epoch_end(1), plan.total_steps) == (2.25, 2, 5)
    for rank in range(2):
        batches = training(open_pipeline(plan, rank, threads=1))
        assert [images.shape for images, _ in batches] == [(4, 16, 16, 3)] * 5
        assert all(images.dtype == np.float32 for images, _ in batches)
        assert all(labels.dtype == np.int64 and labels.shape == (4,) for _, labels in batches)


def test_labels_belong_to_the_examples_of_the_order(folders: Path) -> None:
    plan = plan_for(folders)
    names = list_folders(folders).train.names
    for rank in range(2):
        shard = order.Shard(rank, 2, 4)
        for step, (_, labels) in enumerate(training(open_pipeline(plan, rank, threads=2))):
            examples, _ = order.step_examples(in_order(plan), step, plan.epoch_images, shard)
            assert labels.tolist() == [int(names[e][len("class")]) for e in examples]


@pytest.mark.parametrize("first_step", [1, 2, 3, 4])
def test_a_run_that_starts_later_gives_the_tail_of_the_whole_run(
    data: Path, first_step: int
) -> None:
    plan = plan_for(data, True, False)
    whole = training(open_pipeline(plan, 1, threads=2))
    assert same(training(open_pipeline(plan, 1, threads=1), first_step), whole[first_step:])


@pytest.mark.parametrize("corrupt", [False, True])
def test_accumulated_batches_are_the_images_of_one_large_batch(
    own_folders: Path, corrupt: bool
) -> None:
    if corrupt:
        for name in list_folders(own_folders).train.names[::5]:
            cut_off(own_folders / "train" / name)
    whole = training(open_images(plan_for(own_folders, rank_batch=4), rank=1))
    plan = plan_for(own_folders, rank_batch=2, accumulate=2)
    parts = training(open_images(plan, rank=1))
    joined = [
        (np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]))
        for a, b in zip(parts[::2], parts[1::2], strict=True)
    ]
    assert same(joined, whole)
    assert same(training(open_images(plan, rank=1), first_step=3), parts[6:])


def test_nothing_is_decoded_for_skipped_steps(
    own_folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = plan_for(own_folders, ranks=1, rank_batch=6)
    skipped = order.permute(18, plan.seed, 0)[:6]
    for example in skipped:
        (own_folders / "train" / list_folders(own_folders).train.names[example]).write_bytes(b"")
    training(open_pipeline(plan, 0, threads=1), first_step=1, steps=2)
    assert "corrupt" not in capfd.readouterr().err


def test_augmentation_follows_the_schedule(folders: Path) -> None:
    on = training(open_pipeline(plan_for(folders, True, True), 0, threads=1))
    off = training(open_pipeline(plan_for(folders, False, False), 0, threads=1))
    mixed = training(open_pipeline(plan_for(folders, True, False), 0, threads=1))
    assert same(mixed, on[:2] + off[2:])
    assert not same(on[2:], off[2:])


def test_epochs_differ(folders: Path) -> None:
    batches = training(open_pipeline(plan_for(folders), 0, threads=1))
    assert not same(batches[:2], batches[2:])


def test_file_names_need_not_be_ascii(own_folders: Path) -> None:
    odd = own_folders / "val" / "class0" / "café '$x.jpg"
    (own_folders / "val" / "class0" / "000.jpg").rename(odd)
    pipeline = open_images(plan_for(own_folders, ranks=1))
    assert sum(len(labels) for _, labels in validation(pipeline)) == 10


def test_another_seed_is_another_run(folders: Path) -> None:
    plan = plan_for(folders)
    other = sample_plan(
        **{name: getattr(plan, name) for name in ("source", "dataset", "recipe", "model")}, seed=1
    )
    assert not same(
        training(open_pipeline(plan, 0, threads=1)), training(open_pipeline(other, 0, threads=1))
    )


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 12])
def test_validation_gives_every_image_once_over_all_ranks(data: Path, ranks: int) -> None:
    """10 images: ranks with unequal shares, cut batches, and two ranks of 12 with nothing."""
    plan = plan_for(data, ranks=ranks, rank_batch=1 if ranks == 12 else 4)
    per_rank = [validation(open_pipeline(plan, rank, threads=1)) for rank in range(ranks)]
    labels = [label for batches in per_rank for _, ls in batches for label in ls.tolist()]
    assert sorted(labels) == [0] * 5 + [1] * 5
    alone = [
        image
        for images, _ in validation(open_pipeline(plan_for(data, ranks=1), 0, 1))
        for image in images
    ]
    together = [image for batches in per_rank for images, _ in batches for image in images]
    assert len({image.tobytes() for image in together}) == 10
    assert {image.tobytes() for image in together} == {image.tobytes() for image in alone}


def test_shards_and_folders_evaluate_the_same_images(folders: Path, shards: Path) -> None:
    """prepare-data shuffles, so compare as sets of image and label."""
    found = []
    for path in (folders, shards):
        batches = validation(open_pipeline(plan_for(path, ranks=1), 0, threads=2))
        pairs = [pair for images, labels in batches for pair in zip(images, labels, strict=True)]
        found.append({(image.tobytes(), int(label)) for image, label in pairs})
    assert found[0] == found[1] and len(found[0]) == 10


def test_a_corrupt_training_image_is_named_once_and_replaced(
    own_folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = training(open_images(plan_for(own_folders)))
    plan = plan_for(own_folders)
    step, place = 1, 2
    bad = int(order.step_examples(in_order(plan), step, 18, order.Shard(0, 2, 4))[0][place])
    path = own_folders / "train" / list_folders(own_folders).train.names[bad]
    cut_off(path)
    pipeline = open_images(plan)
    damaged = training(pipeline)
    assert capfd.readouterr().err.count(str(path)) == 1
    assert pipeline.corrupt_training.examples == {bad}
    assert len(damaged) == len(sound)
    for number, (before, after) in enumerate(zip(sound, damaged, strict=True)):
        changed = [not np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True)]
        if number == step:
            assert changed == [False, False, True, False]
        elif number < plan.steps_per_epoch:
            assert not any(changed)
    assert same(training(open_images(plan), first_step=2), damaged[2:])


def test_a_corrupt_image_does_not_depend_on_where_the_run_started(own_folders: Path) -> None:
    for name in list_folders(own_folders).train.names[::5]:
        cut_off(own_folders / "train" / name)
    plan = plan_for(own_folders)
    whole = training(open_images(plan))
    for first_step in range(1, 4):
        assert same(training(open_images(plan), first_step), whole[first_step:])


def test_a_corrupt_validation_image_is_named_and_left_out(
    own_folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = own_folders / "val" / "class0" / "002.jpg"
    cut_off(path)
    pipelines = [open_images(plan_for(own_folders), rank) for rank in range(2)]
    for _ in range(2):
        labels = [n for p in pipelines for _, ns in validation(p) for n in ns.tolist()]
        assert sorted(labels) == [0] * 4 + [1] * 5
    assert capfd.readouterr().err.count(str(path)) == 1
    assert pipelines[0].corrupt_validation.examples == {2}
    assert pipelines[1].corrupt_validation.examples == set()


def test_a_batch_of_only_corrupt_validation_images_is_no_batch(own_folders: Path) -> None:
    for i in range(4):
        cut_off(own_folders / "val" / "class0" / f"{i:03d}.jpg")
    batches = validation(open_pipeline(plan_for(own_folders, ranks=1), 0, threads=1))
    assert [len(labels) for _, labels in batches] == [4, 2]


def test_too_many_corrupt_images_stop_the_run_and_are_named(own_folders: Path) -> None:
    names = list_folders(own_folders).train.names
    for name in names[:12]:
        cut_off(own_folders / "train" / name)
    with pytest.raises(RunError, match="11 corrupt training images are more than the 10") as caught:
        training(open_images(plan_for(own_folders, True, True, True, True, ranks=1)))
    named = [name for name in names if name in str(caught.value)]
    assert len(named) == 10 and "and 1 more" in str(caught.value)


def test_a_missing_image_is_treated_as_a_corrupt_one(
    own_folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = open_images(plan_for(own_folders, ranks=1))
    path = own_folders / "val" / "class1" / "000.jpg"
    path.unlink()
    assert sum(len(labels) for _, labels in validation(pipeline)) == 9
    error = capfd.readouterr().err
    assert str(path) in error and "No such file" in error


@pytest.mark.parametrize("threads", [1, 2])
def test_a_flipped_bit_in_a_record_is_found_and_the_record_named(
    own_folders: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], threads: int
) -> None:
    path = tmp_path / "shards"
    prepare(PrepareJob(own_folders, path, train_shards=1, validation_shards=1), QUIET)
    shard = path / "validation-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    batches = validation(open_pipeline(plan_for(path, ranks=1), 0, threads))
    assert sum(len(labels) for _, labels in batches) == 9
    assert f"{shard} record 9: corrupted record" in capfd.readouterr().err


def test_labels_outside_the_classes_are_named(
    own_folders: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "shards"
    prepare(PrepareJob(own_folders, path, train_shards=1, validation_shards=1), QUIET)
    (path / "manifest.json").unlink()
    source, dataset = discover(path, classes=1)
    plan = sample_plan(
        source=source, dataset=dataset, model=ModelSpec(name="small", image_size=16, classes=10)
    )
    labels = [n for _, ns in validation(open_pipeline(plan, 0, threads=1)) for n in ns.tolist()]
    assert set(labels) <= {0}
    assert "the label is not one of 1 to 1" in capfd.readouterr().err


def test_all_threads_run_on_the_processors_given_also_after_a_corrupt_image(
    own_folders: Path,
) -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("this process may run on one processor only")
    cpu = max(allowed)
    plan = plan_for(own_folders, ranks=1)
    bad = int(order.permute(18, plan.seed, 0)[6])
    cut_off(own_folders / "train" / list_folders(own_folders).train.names[bad])
    list(open_pipeline(plan, 0, threads=2).validation())
    pipeline = open_pipeline(plan, 0, threads=2, cpus=(cpu,))
    assert isinstance(pipeline, ImagePipeline)
    before = set(os.listdir("/proc/self/task"))
    batches = pipeline.training()
    for _ in range(3):
        next(batches)
        started = set(os.listdir("/proc/self/task")) - before
        assert len(started) >= 2
        assert {frozenset(os.sched_getaffinity(int(task))) for task in started} == {
            frozenset({cpu})
        }
    assert pipeline.corrupt_training.examples == {bad}
    assert os.sched_getaffinity(0) == allowed


def test_other_data_than_planned_are_refused(own_folders: Path) -> None:
    plan = plan_for(own_folders)
    (own_folders / "train" / "class0" / "000.jpg").unlink()
    with pytest.raises(RunError, match="not the data of the plan"):
        open_pipeline(plan, 0, threads=1)


def test_synthetic_batches_are_made_once_and_differ_between_ranks() -> None:
    plan = sample_plan(stop_after_steps=5)
    pipelines = [open_pipeline(plan, rank, threads=1) for rank in range(2)]
    assert all(isinstance(pipeline, SyntheticData) for pipeline in pipelines)
    batches = list(pipelines[0].training())
    assert len(batches) == 5 and len(list(pipelines[0].training(3))) == 2
    assert all(images is batches[0][0] for images, _ in batches)
    other = next(iter(pipelines[1].training()))
    assert not np.array_equal(other[0], batches[0][0])
    again = next(iter(open_pipeline(plan, 0, threads=1).training()))
    assert np.array_equal(again[0], batches[0][0]) and np.array_equal(again[1], batches[0][1])
    assert batches[0][0].shape == (4, 32, 32, 3) and batches[0][1].dtype == tf.int64
    assert all(0 <= label < 10 for label in batches[0][1].numpy())


@pytest.mark.parametrize("images", [1, 7, 8, 9, 16])
def test_synthetic_validation_counts_exactly_over_uneven_ranks(images: int) -> None:
    dataset = DatasetInfo(train_images=80, validation_images=images, classes=10)
    plan = sample_plan(dataset=dataset)
    sizes = [
        [len(labels) for _, labels in validation(open_pipeline(plan, rank, threads=1))]
        for rank in range(2)
    ]
    assert sum(map(sum, sizes)) == images
    assert all(0 < size <= 4 for rank in sizes for size in rank)
