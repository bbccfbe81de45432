"""Recipes: files, stretching, and what becomes of short runs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.method.phase import Phase
from hvdtrain.plan.method.recipe import (
    Recipe,
    load_recipe,
    make_schedule,
    recipe_names,
    stretch_recipe,
)
from hvdtrain.plan.method.scaling_rules import Scaling

RECIPE = """
name = "mine"
title = "mine"
source = "me"
[[phase]]
name = "all"
epochs = 2
start = 1.0
end = 0.0
weight_decay = 1e-4
"""


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_says_its_name_and_its_length(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    epochs = int(name.rpartition("-")[2])
    assert recipe.total_epochs == epochs
    assert recipe.epochs == pytest.approx(epochs)


def test_a_recipe_of_ones_own_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    assert load_recipe(str(path)).epochs == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("end = 0.0", "end = -1.0"), "phase[0].end"),
        (("epochs = 2", "epoch = 2"), "curve, end, epochs"),
        (("start = 1.0", 'start = "previous"'), "nothing before it"),
        (('name = "all"', 'name = "a\\nb"'), "phase[0].name"),
        (("epochs = 2", "epochs = inf"), "phase[0].epochs"),
    ],
)
def test_a_wrong_recipe_is_refused_and_the_place_named(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(InputError) as caught:
        load_recipe(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_most_similar() -> None:
    with pytest.raises(InputError) as caught:
        load_recipe("linear90")
    assert caught.value.fix == "--recipe linear-90"


def test_stretching_keeps_the_shares() -> None:
    stretched = stretch_recipe(load_recipe("linear-90"), 45)
    assert [phase.epochs for phase in stretched.phase] == pytest.approx([2.5, 42.5])


@pytest.mark.parametrize("epochs", [0, -1, float("nan"), float("inf"), 1e9])
def test_impossible_epochs_are_refused(epochs: float) -> None:
    with pytest.raises(InputError):
        stretch_recipe(load_recipe("linear-90"), epochs)


@given(
    st.sampled_from(recipe_names()), st.floats(0.01, 300), st.integers(1, 5000), st.integers(1, 70)
)
def test_a_schedule_has_the_recipes_length(
    name: str, epochs: float, steps_per_epoch: int, batches: int
) -> None:
    recipe = stretch_recipe(load_recipe(name), epochs)
    try:
        schedule = make_schedule(recipe, batches * 1024, steps_per_epoch)
    except InputError:
        assert epochs * steps_per_epoch < 0.5001
        return
    assert abs(schedule.steps - epochs * steps_per_epoch) <= 0.5001
    assert all(segment.steps > 0 for segment in schedule.segments)


def test_a_run_of_a_few_steps_leaves_out_the_phases_without_a_step() -> None:
    schedule = make_schedule(stretch_recipe(load_recipe("linear-90"), 1), 256, 4)
    assert [segment.name for segment in schedule.segments] == ["decay"]
    assert schedule.learning_rate(0) == pytest.approx(0.1)


def test_halves_are_rounded_the_same_way_everywhere() -> None:
    # 1.5 and 2.5 steps: rounding to even would leave nothing between them.
    recipe = stretch_recipe(load_recipe("large-batch-100"), 25)
    schedule = make_schedule(recipe, 16_384, 1)
    assert schedule.steps == 25
    assert [segment.name for segment in schedule.segments] == ["warm-up", "decay", "collapse"]


def phase(**fields: Any) -> Phase:
    return Phase(**{"name": "p", "weight_decay": 1e-4, "start": 1.0, **fields})


def recipe_of(*phases: Phase, scaling: Scaling) -> Recipe:
    return Recipe(name="r", title="r", source="r", scaling=scaling, phase=phases)


def test_phases_in_steps_stand_beside_phases_in_epochs() -> None:
    recipe = recipe_of(
        phase(steps=7, end=1.0),
        phase(epochs=2.5, end=0.0),
        phase(steps=20, curve="steps", factor=0.5, at=(5, 10)),
        scaling=Scaling(),
    )
    schedule = make_schedule(recipe, 256, 10)
    assert [segment.steps for segment in schedule.segments] == [7, 25, 20]
    rates = [schedule.learning_rate(32 + step) for step in (4, 5, 9, 10, 19)]
    assert rates == pytest.approx([0.1, 0.05, 0.05, 0.025, 0.025])
    with pytest.raises(InputError) as caught:
        stretch_recipe(recipe, 10)
    assert caught.value.field == "--epochs"


def test_stretching_moves_the_falls() -> None:
    schedule = make_schedule(stretch_recipe(load_recipe("step-90"), 9), 7680, 100)
    assert schedule.steps == 900
    assert schedule.learning_rate(299) == pytest.approx(3.0)
    assert schedule.learning_rate(300) == pytest.approx(0.3)


LEGW = recipe_of(
    phase(epochs=0.15625, start=0.0, end=1.0),
    phase(epochs=79.84375, curve="steps", factor=0.1, at=(29.84375, 59.84375)),
    phase(epochs=10, start="previous", end=0.0),
    scaling=Scaling(rule="legw", base_lr=4, base_batch=512),
)


@pytest.mark.parametrize("global_batch", [512, 1024, 8192, 32_768])
def test_legw_keeps_the_updates_of_the_warm_up_and_the_rest_in_place(global_batch: int) -> None:
    # Source: 1901.08256. An epoch of 2^20 images divides without a rest.
    epoch = 2**20 // global_batch
    schedule = make_schedule(LEGW, global_batch, epoch)
    warm_up = schedule.segments[0].steps
    assert warm_up == 320
    assert schedule.steps == 90 * epoch
    peak = 4 * (global_batch / 512) ** 0.5
    assert schedule.learning_rate(warm_up) == pytest.approx(peak)
    for fall, rate in ((30, peak / 10), (60, peak / 100)):
        assert schedule.learning_rate(fall * epoch - 1) == pytest.approx(rate * 10)
        assert schedule.learning_rate(fall * epoch) == pytest.approx(rate)


def test_legw_ends_where_the_warm_up_has_no_room_left() -> None:
    with pytest.raises(InputError) as caught:
        make_schedule(LEGW, 98_304, 10)
    assert caught.value.field == "global batch"
    assert "less than 98304" in caught.value.allowed
    assert make_schedule(LEGW, 98_303, 10).steps == 900


CURVES = ("linear", "polynomial", "cosine", "constant", "steps", "re-warm")


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe: every curve, lengths in epochs and in steps, every rule."""
    ends = [{"end": draw(st.floats(0, 3))}, {"factor": draw(st.floats(0.01, 4))}]
    phases = []
    for index in range(draw(st.integers(1, 6))):
        curve = draw(st.sampled_from(CURVES))
        length = draw(st.floats(0.01, 20))
        fields: dict[str, Any] = {"epochs": length} if draw(st.booleans()) else {"steps": 40}
        whole = fields.get("epochs", 40)
        if curve in ("linear", "polynomial", "cosine"):
            fields |= draw(st.sampled_from(ends))
        elif curve == "re-warm":
            fields["factor"] = draw(st.floats(1.01, 4))
        elif curve == "steps":
            fields |= {"factor": 0.3, "at": (whole * 0.3, whole * 0.7)}
        if curve == "polynomial":
            fields["power"] = draw(st.floats(0.2, 4))
        starts = [0.5, "base"] if index == 0 else ["previous"]
        phases.append(
            phase(
                curve=curve,
                start=draw(st.sampled_from(starts)),
                augment=draw(st.booleans()),
                snapshot=draw(st.booleans()),
                **fields,
            )
        )
    rules = (
        Scaling(),
        Scaling(max_peak_lr=6.4),
        Scaling(rule="sqrt"),
        Scaling(rule="fixed-peak", peak_lr=6.4),
    )
    return recipe_of(*phases, scaling=draw(st.sampled_from(rules)))


@settings(deadline=None)
@given(recipes(), st.integers(1, 60), st.sampled_from([256, 4096, 65_536]))
def test_any_recipe_is_continuous_finite_and_a_function_of_the_step(
    recipe: Recipe, steps_per_epoch: int, global_batch: int
) -> None:
    try:
        schedule = make_schedule(recipe, global_batch, steps_per_epoch)
    except InputError:
        assert recipe.epochs is not None
        assert recipe.epochs * steps_per_epoch < 0.5001
        return
    whole = [schedule.learning_rate(step) for step in range(schedule.steps)]
    assert all(math.isfinite(rate) and rate >= 0 for rate in whole)
    # Where one phase ends the next begins, in the count of steps and in the rate.
    boundary = 0
    for before, after in itertools.pairwise(schedule.segments):
        boundary += before.steps
        assert schedule.segment(boundary - 1) is before
        assert schedule.segment(boundary) is after
    if len(schedule.segments) == len(recipe.phase):
        for before, after in itertools.pairwise(schedule.segments):
            assert after.curve.start_lr == before.curve.end_lr
    # A resumed run reads its recipe from a file, and goes on anywhere.
    again = msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe)
    resumed = make_schedule(again, global_batch, steps_per_epoch)
    for step in reversed(range(schedule.steps)):
        assert resumed.learning_rate(step) == whole[step]
        assert resumed.weight_decay(step) == schedule.weight_decay(step)
        assert resumed.augment(step) == schedule.augment(step)
