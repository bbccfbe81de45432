"""What a recipe's file may not say, and the path to it."""

from __future__ import annotations

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import decode_toml
from hvdtrain.plan.method.recipe import Recipe

RECIPE = """
name = "mine"
title = "mine"
source = "me"
total_epochs = 90
[scaling]
rule = "linear"
[[phase]]
name = "warm-up"
epochs = 5
curve = "linear"
start = "base"
end = 1.0
weight_decay = 1e-4
[[phase]]
name = "steps"
begin = 5
epochs = 40
curve = "steps"
factor = 0.1
at = [10, 20]
weight_decay = 1e-4
[[phase]]
name = "rise"
begin = 45
epochs = 5
curve = "re-warm"
factor = 3.0
weight_decay = 1e-4
[[phase]]
name = "stay"
epochs = 20
curve = "constant"
weight_decay = 1e-4
[[phase]]
name = "fall"
begin = 70
epochs = 20
curve = "polynomial"
factor = 0.25
power = 2
weight_decay = 1e-4
"""


def test_the_sample_is_right() -> None:
    assert decode_toml(RECIPE, Recipe, "f").epochs == 90


@pytest.mark.parametrize(
    ("right", "wrong", "field", "said"),
    [
        # A gap, and phases that overrun.
        ("begin = 45", "begin = 46", "phase[2].begin", "there is a gap"),
        ("begin = 45", "begin = 44", "phase[2].begin", "they overrun"),
        ("total_epochs = 90", "total_epochs = 91", "total_epochs", "there is a gap"),
        ("total_epochs = 90", "total_epochs = 80", "total_epochs", "they overrun"),
        ("epochs = 5\n", "epochs = 6\n", "phase[1].begin", "6, where the phases before it end"),
        ("epochs = 5\n", "steps = 500\n", "phase[1].begin", "has its length in steps"),
        ("at = [10, 20]", "at = [10, 40]", "phase[1].at[1]", "below 40"),
        ("at = [10, 20]", "at = [20, 10]", "phase[1].at[1]", "above 20"),
        # Rates and other numbers.
        ("end = 1.0", "end = -1.0", "phase[0].end", "-1.0"),
        ("end = 1.0", "end = nan", "phase[0].end", "nan"),
        ("end = 1.0", "end = inf", "phase[0].end", "inf"),
        ('start = "base"', "start = nan", "phase[0].start", "nan"),
        ('start = "base"', 'start = "top"', "phase[0].start", "base, previous, a number"),
        ('start = "base"', 'start = "previous"', "phase[0].start", "nothing before it"),
        ("power = 2", "power = nan", "phase[4].power", "nan"),
        ("power = 2", "power = 0", "phase[4].power", "> 0"),
        ("factor = 0.25", "factor = -0.25", "phase[4].factor", "-0.25"),
        ("factor = 0.25", "factor = nan", "phase[4].factor", "nan"),
        ("factor = 3.0", "factor = 0.5", "phase[2].factor", "above 1"),
        ("at = [10, 20]", "at = [10, nan]", "phase[1].at[1]", "nan"),
        ("epochs = 40", "epochs = -40", "phase[1].epochs", "-40"),
        ("epochs = 40", "epochs = nan", "phase[1].epochs", "nan"),
        ("epochs = 40", "epochs = 40\nsteps = 3", "phase[1].steps", "not both"),
        ("epochs = 40\n", "", "phase[1].epochs", "missing"),
        ("epochs = 40", "steps = 0", "phase[1].steps", "1"),
        ("weight_decay = 1e-4", "weight_decay = nan", "phase[0].weight_decay", "nan"),
        ("weight_decay = 1e-4", "weight_decay = -1e-4", "phase[0].weight_decay", "-0.0001"),
        # Curves.
        ('curve = "re-warm"', 'curve = "sine"', "phase[2].curve", "constant, cosine, linear"),
        ('curve = "re-warm"', 'curve = "linear"\npower = 2', "phase[2].power", "polynomial"),
        ('curve = "re-warm"', 'curve = "constant"', "phase[2].factor", "a constant rate stays"),
        ('curve = "re-warm"', 'curve = "re-warm"\nend = 1.0', "phase[2].end", "no end of its own"),
        ("factor = 3.0\n", "", "phase[2].factor", "missing"),
        ("factor = 0.25\n", "", "phase[4].end", "missing"),
        ("factor = 0.25", "factor = 0.25\nend = 0.1", "phase[4].factor", "not both"),
        ("at = [10, 20]\n", "", "phase[1].at", "missing"),
        ('curve = "re-warm"', 'curve = "re-warm"\nat = [1]', "phase[2].at", 'curve = "steps"'),
        # Scaling.
        ('rule = "linear"', 'rule = "cubic"', "scaling.rule", "fixed-peak, legw, linear, sqrt"),
        ('rule = "linear"', 'rule = "fixed-peak"', "scaling.peak_lr", "missing"),
        ('rule = "linear"', "base_lr = -0.1", "scaling.base_lr", "-0.1"),
        ('rule = "linear"', "max_peak_lr = nan", "scaling.max_peak_lr", "nan"),
    ],
)
def test_the_wrong_is_refused_with_the_path_to_the_field(
    right: str, wrong: str, field: str, said: str
) -> None:
    assert right in RECIPE
    with pytest.raises(InputError) as caught:
        decode_toml(RECIPE.replace(right, wrong, 1), Recipe, "f")
    assert caught.value.field == f"f: {field}"
    assert said in str(caught.value)


def test_legw_needs_a_warm_up_and_a_phase_beside_it() -> None:
    text = RECIPE.partition('[[phase]]\nname = "steps"')[0].replace("= 90", "= 5")
    assert decode_toml(text, Recipe, "f").epochs == 5
    with pytest.raises(InputError) as caught:
        decode_toml(text.replace("linear", "legw", 1), Recipe, "f")
    assert caught.value.field == "f: phase[1].epochs"
