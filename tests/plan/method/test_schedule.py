"""Schedules as functions of the step."""

from __future__ import annotations

import doctest
import itertools

import pytest

from hvdtrain.plan.method import schedule as schedule_module
from hvdtrain.plan.method.curves import PiecewiseConstant
from hvdtrain.plan.method.recipe import load_recipe, make_schedule, recipe_names
from hvdtrain.plan.method.schedule import Schedule, Segment

IMAGENET = 1_281_167


def of_recipe(name: str, global_batch: int) -> tuple[Schedule, int]:
    # A whole number, so that every phase ends where it is looked for.
    steps_per_epoch = IMAGENET // global_batch
    return make_schedule(load_recipe(name), global_batch, steps_per_epoch), steps_per_epoch


def end_of(schedule: Schedule) -> float:
    """The rate that a schedule has reached after its last step."""
    last = schedule.segments[-1]
    return last.curve.rate(last.steps, last.steps)


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


@pytest.mark.parametrize(
    ("name", "global_batch", "updates", "printed"),
    [
        # Source: Tables II and IX.
        ("linear-90", 8192, 14_075, 14_200),
        ("large-batch-100", 49_152, 2607, 2600),
        ("large-batch-107", 65_536, 2092, 2100),
    ],
)
def test_a_run_has_as_many_updates_as_its_images_fill(
    name: str, global_batch: int, updates: int, printed: int
) -> None:
    recipe = load_recipe(name)
    assert make_schedule(recipe, global_batch, IMAGENET / global_batch).steps == updates
    assert updates == pytest.approx(printed, rel=0.01)


def test_the_collapse_begins_where_the_line_left_off() -> None:
    # Source: Section V-B2: power 2, weight decay doubled to 1e-4, augmentation off.
    schedule, epoch = of_recipe("large-batch-100", 49_152)
    begin, steps = 94 * epoch, 6 * epoch
    level = 6.4 * 6 / 90
    assert schedule.learning_rate(begin) == pytest.approx(level)
    assert schedule.learning_rate(begin + steps // 2) == pytest.approx(level / 4)
    assert [schedule.weight_decay(step) for step in (begin - 1, begin)] == [5e-5, 1e-4]
    assert [schedule.augment(step) for step in (begin - 1, begin)] == [True, False]


def test_step_90_falls_to_a_tenth_at_epochs_30_60_and_80() -> None:
    # Source: Section IV-D and Table I.
    schedule, epoch = of_recipe("step-90", 7680)
    for fall, rate in ((30, 0.3), (60, 0.03), (80, 0.003)):
        assert schedule.learning_rate(fall * epoch - 1) == pytest.approx(rate * 10)
        assert schedule.learning_rate(fall * epoch) == pytest.approx(rate)
    assert schedule.learning_rate(90 * epoch - 1) == pytest.approx(0.003)


@pytest.mark.parametrize("epochs", [29, 37, 50, 54, 60, 64, 75, 90])
def test_the_linear_recipes_differ_only_in_their_slope(epochs: int) -> None:
    # Source: Section IV-D, "the only detail changing being the decay slope".
    schedule, epoch = of_recipe(f"linear-{epochs}", 8192)
    assert schedule.steps == epochs * epoch
    assert schedule.learning_rate(5 * epoch) == 3.2
    slope = 3.2 / (epochs - 5) / epoch
    assert schedule.learning_rate(5 * epoch + 100) == pytest.approx(3.2 - 100 * slope)
    assert end_of(schedule) == 0
    assert {schedule.weight_decay(step) for step in range(schedule.steps)} == {1e-4}


def test_half_decay_90_is_linear_90_with_half_the_weight_decay() -> None:
    # Source: Section V-B1.
    half, _ = of_recipe("half-decay-90", 4096)
    full, _ = of_recipe("linear-90", 4096)
    steps = range(0, full.steps, 97)
    assert [half.learning_rate(step) for step in steps] == [
        full.learning_rate(step) for step in steps
    ]
    assert {half.weight_decay(step) for step in steps} == {5e-5}
    assert {full.weight_decay(step) for step in steps} == {1e-4}


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("collapse-90", 85),
        ("large-batch-100", 94),
        ("large-batch-107", 100),
        ("target-48", 45),
        ("target-64", 60),
        ("target-78", 75),
        ("target-120", 115),
    ],
)
def test_a_final_collapse(name: str, begin: int) -> None:
    # Source: Section V-B2: from where the rate left off, power 2 to 0; weight decay 1e-4, and no
    # scale and aspect augmentation; before it 5e-5 at first, with augmentation.
    schedule, epoch = of_recipe(name, 4096)
    first = begin * epoch
    collapse = schedule.segment(first)
    assert schedule.segment(first - 1).curve.end_lr == collapse.curve.start_lr
    assert schedule.learning_rate(first + collapse.steps // 2) == pytest.approx(
        collapse.curve.start_lr / 4
    )
    assert first + collapse.steps == schedule.steps
    assert end_of(schedule) == 0
    assert schedule.weight_decay(0) == 5e-5
    assert schedule.weight_decay(first) == 1e-4
    assert all(schedule.augment(step) == (step < first) for step in range(0, schedule.steps, 13))


def test_the_collapse_of_90_epochs_is_5_to_7_percent_of_it() -> None:
    # Source: Section V-B2.
    for name in ("collapse-90", "large-batch-100", "large-batch-107"):
        schedule, _ = of_recipe(name, 4096)
        assert 0.05 <= schedule.segments[-1].steps / schedule.steps <= 0.07


def test_the_64k_recipe_raises_the_weight_decay_along_one_line() -> None:
    # Source: Fig. 3 and Section V-C: several steps, peak 6.4, 107 epochs; Table IX: 2,100 updates.
    schedule, epoch = of_recipe("large-batch-107", 65_536)
    assert schedule.peak_lr == 6.4
    assert schedule.steps == pytest.approx(2100, rel=0.04)
    decays = [segment.weight_decay for segment in schedule.segments]
    assert decays == sorted(decays)
    assert len(set(decays)) == 4
    line = [
        schedule.learning_rate(step) - schedule.learning_rate(step + 1)
        for step in range(10 * epoch, 100 * epoch - 1)
    ]
    assert min(line) == pytest.approx(max(line), rel=1e-9)
    assert of_recipe("large-batch-107", 256)[0].peak_lr == 6.4


def test_the_collapsed_ensemble_follows_figure_4() -> None:
    # Source: Section VI.
    schedule, epoch = of_recipe("collapsed-ensemble-120", 4096)
    rate = [schedule.learning_rate(each * epoch) for each in range(120)]
    assert schedule.steps == 120 * epoch
    assert rate[5] == 1.6
    assert rate[45] == pytest.approx(0.22 * rate[5], rel=1e-12)
    for begin in (45, 60, 75, 90, 105):
        assert rate[begin + 3] == pytest.approx(3 * rate[begin], rel=1e-12)
        # Linear over 3 epochs, then a power of 2.
        assert rate[begin + 1] == pytest.approx(rate[begin] * 5 / 3, rel=1e-12)
        quarter = rate[begin + 3] / 4
        assert rate[begin + 9] == pytest.approx(quarter + (rate[begin + 3] - quarter) / 4)
        after = rate[begin + 15] if begin < 105 else end_of(schedule)
        assert after == pytest.approx(rate[begin] * 3 / 4, rel=1e-12)
    assert [step // epoch for step in schedule.snapshots] == [45, 60, 75, 90, 105, 120]
    assert {schedule.weight_decay(step) for step in range(0, schedule.steps, 50)} == {5e-5}


@pytest.mark.parametrize(("epochs", "shared"), [(48, 45), (64, 60), (78, 75), (120, 108)])
def test_the_targets_are_the_ensembles_run_until_they_collapse(epochs: int, shared: int) -> None:
    # Source: Sections IV-D and VI.
    target, epoch = of_recipe(f"target-{epochs}", 4096)
    ensemble, _ = of_recipe("collapsed-ensemble-120", 4096)
    assert target.steps == epochs * epoch
    for step in range(0, shared * epoch, 61):
        assert target.learning_rate(step) == ensemble.learning_rate(step)
        assert target.weight_decay(step) == ensemble.weight_decay(step)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "step-90"])
@pytest.mark.parametrize("global_batch", [64, 8192, 49_152])
def test_no_recipe_but_the_steps_jumps(name: str, global_batch: int) -> None:
    schedule, _ = of_recipe(name, global_batch)
    for before, after in itertools.pairwise(schedule.segments):
        assert before.curve.rate(before.steps, before.steps) == pytest.approx(
            after.learning_rate(0), rel=1e-12
        )


@pytest.mark.parametrize("step", [-1, 30])
def test_there_is_nothing_outside_the_schedule(step: int) -> None:
    constant = PiecewiseConstant(start_lr=1.0, factor=1.0, boundaries=())
    schedule = Schedule(segments=(Segment(name="s", steps=30, curve=constant),))
    with pytest.raises(IndexError):
        schedule.learning_rate(step)
