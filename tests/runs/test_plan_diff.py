"""A run may go on only as what it was, and a person must see what is different."""

from __future__ import annotations

import msgspec
import pytest

from hvdtrain.plan.method.dataset import DataSource
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.runs.plan_diff import plan_changes, plan_sha256
from tests.samples import sample_plan


def test_the_same_plan_has_no_changes() -> None:
    assert plan_changes(sample_plan(), sample_plan()) == []


def test_the_data_may_lie_elsewhere() -> None:
    here, there = (DataSource(kind="folders", path=path) for path in ("/ram/1", "/ram/2"))
    assert plan_changes(sample_plan(source=here), sample_plan(source=there)) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rank_batch": 8}, "rank_batch: 4 -> 8"),
        ({"ranks_per_node": 1}, "ranks_per_node: 2 -> 1"),
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"stop_after_steps": 7}, "stop_after_steps: null -> 7"),
        ({"source": DataSource(kind="folders")}, 'source.kind: "synthetic" -> "folders"'),
        ({"recipe": load_recipe("large-batch-100")}, 'recipe.name: "linear-90"'),
    ],
)
def test_every_change_is_named(changes: dict[str, object], line: str) -> None:
    assert any(
        change.startswith(line) for change in plan_changes(sample_plan(), sample_plan(**changes))
    )


def test_other_images_are_a_change() -> None:
    plan = sample_plan()
    dataset = msgspec.structs.replace(plan.dataset, fingerprint="0123456789abcdef")
    other = msgspec.structs.replace(plan, dataset=dataset)
    assert plan_changes(plan, other) == ['dataset.fingerprint: "" -> "0123456789abcdef"']


def test_two_ranks_have_the_same_plan_wherever_their_data_lies() -> None:
    here, there = (sample_plan(source=DataSource(path=path)) for path in ("/tmp/1", "/tmp/2"))
    assert plan_sha256(here) == plan_sha256(there)
    assert plan_sha256(here) != plan_sha256(sample_plan(seed=1))
