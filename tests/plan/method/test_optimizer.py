"""The optimizer's table in a recipe: closed, and the same after a round trip."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.files.decode import decode_toml
from hvdtrain.plan.method.optimizer import (
    LambSpec,
    LarsSpec,
    OptimizerSpec,
    SgdSpec,
    is_regularised,
)
from hvdtrain.plan.method.recipe import Recipe, load_recipe, recipe_names
from hvdtrain.plan.method.run_plan import RunPlan
from tests.samples import sample_plan

RECIPE = """
name = "mine"
title = "mine"
source = "me"
label_smoothing = 0.1
average_decay = 0.9999
[optimizer]
name = "lars"
trust = 0.002
[[phase]]
name = "all"
epochs = 2
start = 1.0
end = 0.0
weight_decay = 1e-4
"""

MOMENTA = st.floats(0, 0.9999)
SPECS = st.one_of(
    st.builds(SgdSpec, momentum=MOMENTA, nesterov=st.booleans()),
    st.builds(LarsSpec, momentum=MOMENTA, trust=st.floats(1e-6, 10), epsilon=st.floats(0, 1)),
    st.builds(
        LambSpec,
        beta1=MOMENTA,
        beta2=MOMENTA,
        epsilon=st.floats(0, 1),
        bias_correction=st.booleans(),
        clip_norm=st.none() | st.floats(1e-6, 100),
    ),
)


def read(text: str) -> Recipe:
    return decode_toml(text, Recipe, "mine.toml")


def test_a_recipe_names_its_optimizer() -> None:
    recipe = read(RECIPE)
    assert recipe.optimizer == LarsSpec(momentum=0.9, trust=0.002, epsilon=0.0)
    assert (recipe.label_smoothing, recipe.average_decay) == (0.1, 0.9999)


def test_the_paper_trains_with_momentum_and_nothing_else() -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.optimizer == SgdSpec(momentum=0.9, nesterov=False)
        assert (recipe.label_smoothing, recipe.average_decay) == (0, None)


@given(SPECS)
def test_a_spec_survives_its_plan(spec: OptimizerSpec) -> None:
    plan = sample_plan()
    plan = msgspec.structs.replace(
        plan, recipe=msgspec.structs.replace(plan.recipe, optimizer=spec)
    )
    decoded = msgspec.json.decode(msgspec.json.encode(plan), type=RunPlan)
    assert decoded == plan
    assert type(decoded.recipe.optimizer) is type(spec)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("trust = 0.002", "nesterov = true"), "optimizer.nesterov"),
        (("trust = 0.002", "trust = 0.0"), "optimizer.trust"),
        (("trust = 0.002", "momentum = 1.0"), "optimizer.momentum"),
        (("trust = 0.002", "epsilon = nan"), "optimizer.epsilon"),
        (('name = "lars"', 'name = "lasr"'), "optimizer.name"),
        (('name = "lars"', ""), "optimizer"),
        (("label_smoothing = 0.1", "label_smoothing = 1.0"), "label_smoothing"),
        (("average_decay = 0.9999", "average_decay = 1.0"), "average_decay"),
    ],
)
def test_a_wrong_table_is_refused_and_the_place_named(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(RECIPE.replace(*change))
    assert said in str(caught.value)


@pytest.mark.parametrize(("rank", "regularised"), [(0, False), (1, False), (2, True), (4, True)])
def test_kernels_alone_are_regularised(rank: int, regularised: bool) -> None:
    assert is_regularised(rank) is regularised
