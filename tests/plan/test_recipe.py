"""Recipes: files, stretching, and what becomes of short runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.recipe import load_recipe, make_schedule, recipe_names, stretch_recipe

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
