"""A collapse goes on where its snapshot left off."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.method.collapse import make_collapse_plan
from hvdtrain.plan.method.recipe import Recipe, load_recipe
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from tests.samples import sample_plan

SEEN = EvaluationResult(count=16, top1=0.5, top5=1.0, loss=1.25)


def fig_4(**changes: Any) -> RunPlan:
    return sample_plan(recipe=load_recipe("collapsed-ensemble-120"), **changes)


def collapse(parent: RunPlan, number: int, epochs: float | None = None) -> RunPlan:
    step = parent.schedule.snapshots[number - 1]
    origin = SnapshotOrigin(run_id="run", snapshot=number, step=step, evaluation=SEEN)
    return make_collapse_plan(parent, origin, epochs)


@pytest.mark.parametrize(("number", "target"), [(1, "target-48"), (3, "target-78")])
def test_the_collapse_of_a_snapshot_is_the_paper_s_shorter_recipe(number: int, target: str) -> None:
    # 48 epochs to 75.5 %, 78 to 76.5 %: models 1c and 3c. Source: Table XI, Section IV-D.
    plan = collapse(fig_4(), number)
    own, shorter = plan.schedule, sample_plan(recipe=load_recipe(target)).schedule
    assert own.segments[-1].steps == 3 * plan.steps_per_epoch
    assert own.steps == shorter.steps
    for step in range(own.steps):
        assert own.learning_rate(step) == shorter.learning_rate(step)
        assert own.weight_decay(step) == shorter.weight_decay(step)
        assert own.augment(step) == shorter.augment(step)


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(1, 6),
    whole=st.floats(2, 500),
    length=st.floats(0.2, 20) | st.none(),
    rank_batch=st.integers(1, 9),
)
def test_any_collapse_begins_at_the_snapshot_and_ends_at_0(
    number: int, whole: float, length: float | None, rank_batch: int
) -> None:
    parent = fig_4(epochs=whole, rank_batch=rank_batch)
    # A cycle of less than a step has none.
    assume(number <= len(parent.schedule.snapshots))
    step = parent.schedule.snapshots[number - 1]
    try:
        plan = collapse(parent, number, length)
    except InputError:
        assert (length or whole * 3 / 120) * parent.steps_per_epoch < 1
        return
    assert plan.first_step == step
    assert parent.epoch_end(plan.first_epoch) <= step < parent.epoch_end(plan.first_epoch + 1)
    before, after = parent.schedule, plan.schedule
    for own_step in (0, step // 2, step - 1):
        assert after.learning_rate(own_step) == before.learning_rate(own_step)
    last = after.segment(step)
    assert last is after.segments[-1]
    ends = itertools.accumulate(segment.steps for segment in before.segments)
    left_off = dict(zip(ends, before.segments, strict=True))[step].curve.end_lr
    assert after.learning_rate(step) == left_off
    assert last.curve.rate(last.steps, last.steps) == 0.0
    assert not last.augment
    assert last.weight_decay == 2 * before.weight_decay(step - 1)
    assert after.snapshots == ()


def test_a_stretched_recipe_has_a_stretched_collapse() -> None:
    parent = fig_4(epochs=60)
    assert collapse(parent, 2).schedule.segments[-1].steps == 1.5 * parent.steps_per_epoch
    assert collapse(parent, 2, 5).schedule.segments[-1].steps == 5 * parent.steps_per_epoch


def test_a_recipe_without_a_collapse_gets_the_paper_s() -> None:
    recipe = msgspec.structs.replace(load_recipe("collapsed-ensemble-120"), collapse=None)
    plan, usual = (collapse(parent, 4) for parent in (sample_plan(recipe=recipe), fig_4()))
    assert plan.schedule == usual.schedule


def test_a_run_that_was_cut_short_can_be_collapsed_to_the_end() -> None:
    plan = collapse(fig_4(stop_after_steps=455), 1)
    assert plan.total_steps == 48 * plan.steps_per_epoch


def test_a_collapse_plan_survives_json() -> None:
    plan = collapse(fig_4(), 5)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=RunPlan) == plan


@pytest.mark.parametrize("epochs", [0.0, -1.0, float("nan"), float("inf"), 0.04])
def test_a_length_that_is_none_is_refused(epochs: float) -> None:
    with pytest.raises(InputError, match="--epochs"):
        collapse(fig_4(), 1, epochs)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"start": 1.0}, "collapse.start"),
        ({"begin": 45.0}, "collapse.begin"),
        ({"snapshot": True}, "collapse.snapshot"),
    ],
)
def test_a_collapse_that_is_no_end_is_refused(changes: dict[str, Any], field: str) -> None:
    recipe = load_recipe("collapsed-ensemble-120")
    assert recipe.collapse is not None
    wrong = msgspec.structs.replace(recipe.collapse, **changes)
    with pytest.raises(ValueError, match=field):
        msgspec.structs.replace(recipe, collapse=wrong)


def test_under_legw_the_warm_up_is_no_snapshot() -> None:
    raw = msgspec.to_builtins(load_recipe("collapsed-ensemble-120"))
    raw["scaling"] = {"rule": "legw", "base_lr": 1.0, "base_batch": 8}
    assert msgspec.convert(raw, Recipe)
    raw["phase"][0]["snapshot"] = True
    with pytest.raises(msgspec.ValidationError, match=r"phase\[0\].snapshot"):
        msgspec.convert(raw, Recipe)
