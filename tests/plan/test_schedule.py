"""Schedules as functions of the step."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.plan import schedule as schedule_module
from hvdtrain.plan.recipe import load_recipe, make_schedule, recipe_names
from hvdtrain.plan.schedule import Schedule, Segment

IMAGENET = 1_281_167


def of_recipe(name: str, global_batch: int) -> tuple[Schedule, int]:
    steps_per_epoch = IMAGENET // global_batch
    return make_schedule(load_recipe(name), global_batch, steps_per_epoch), steps_per_epoch


def test_the_docstring_is_right() -> None:
    found = doctest.testmod(schedule_module)
    assert found.attempted > 0
    assert found.failed == 0


def test_linear_90_follows_the_linear_scaling_rule() -> None:
    # Source: Section IV-D, 0.1 per 256, 5 epochs of warm-up, then a straight line to 0.
    schedule, epoch = of_recipe("linear-90", 8192)
    assert schedule.steps == 90 * epoch
    assert schedule.learning_rate(0) == pytest.approx(0.1)
    assert schedule.learning_rate(5 * epoch) == pytest.approx(3.2)
    assert schedule.peak_lr == pytest.approx(3.2)
    halfway = 5 * epoch + 85 * epoch // 2
    assert schedule.learning_rate(halfway) == pytest.approx(1.6, rel=1e-3)
    assert 0 < schedule.learning_rate(90 * epoch - 1) < 3.2 / (85 * epoch) * 1.01


def test_large_batches_keep_the_peak_of_16k() -> None:
    # Source: Section V-C, 6.4 for 16K and above.
    for global_batch in (16_384, 32_768, 49_152, 65_536):
        schedule, epoch = of_recipe("large-batch-100", global_batch)
        assert schedule.peak_lr == pytest.approx(6.4)
        assert schedule.learning_rate(10 * epoch) == pytest.approx(6.4)
    assert of_recipe("large-batch-100", 8192)[0].peak_lr == pytest.approx(3.2)


def test_the_49152_run_has_2600_updates() -> None:
    # Source: Table IX.
    assert of_recipe("large-batch-100", 49_152)[0].steps == 2600


def test_the_collapse_begins_where_the_line_left_off() -> None:
    # Source: Section V-B2: power 2, weight decay doubled to 1e-4, augmentation off.
    schedule, epoch = of_recipe("large-batch-100", 49_152)
    begin, steps = 94 * epoch, 6 * epoch
    level = 6.4 * 6 / 90
    assert schedule.learning_rate(begin) == pytest.approx(level)
    assert schedule.learning_rate(begin + steps // 2) == pytest.approx(level / 4)
    assert [schedule.weight_decay(step) for step in (begin - 1, begin)] == [5e-5, 1e-4]
    assert [schedule.augment(step) for step in (begin - 1, begin)] == [True, False]


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("global_batch", [64, 8192, 49_152])
def test_no_recipe_jumps(name: str, global_batch: int) -> None:
    schedule, _ = of_recipe(name, global_batch)
    # The steepest a recipe may be: from one rate to the next within a segment's first step.
    steepest = max(
        abs(segment.start_lr - segment.end_lr) / segment.steps * max(1.0, segment.power)
        for segment in schedule.segments
    )
    edges = {0}
    for segment in schedule.segments:
        edges.add(max(edges) + segment.steps)
    for edge in sorted(edges)[1:-1]:
        before, after = schedule.learning_rate(edge - 1), schedule.learning_rate(edge)
        assert abs(before - after) <= steepest * 1.000001


@given(
    st.integers(1, 500),
    st.floats(0, 10, allow_nan=False),
    st.floats(0, 10, allow_nan=False),
    st.floats(0.1, 4),
    st.data(),
)
def test_a_segment_stays_between_its_ends(
    steps: int, start: float, end: float, power: float, data: st.DataObject
) -> None:
    segment = Segment(name="s", steps=steps, start_lr=start, end_lr=end, power=power)
    rate = segment.learning_rate(data.draw(st.integers(0, steps - 1)))
    assert min(start, end) - 1e-9 <= rate <= max(start, end) + 1e-9
    assert segment.learning_rate(0) == pytest.approx(start)


@pytest.mark.parametrize("step", [-1, 30])
def test_there_is_nothing_outside_the_schedule(step: int) -> None:
    schedule = Schedule(segments=(Segment(name="s", steps=30, start_lr=1.0, end_lr=0.0),))
    with pytest.raises(IndexError):
        schedule.learning_rate(step)
