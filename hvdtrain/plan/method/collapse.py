"""The plan of a collapse: a short run that makes a model of an ensemble from a snapshot.

It goes on with the steps, the data order and the momentum of the run that kept the snapshot, in
other phases: that run's up to the snapshot, then the collapse. Source: Sections V-B2 and VI.
"""

from __future__ import annotations

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.method.phase import Phase
from hvdtrain.plan.method.recipe import Recipe, load_recipe, snapshot_phases
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import SnapshotOrigin

DEFAULT_RECIPE = "collapsed-ensemble-120"
"""Its collapse is that of a recipe with snapshots that has none."""


def make_collapse_plan(
    parent: RunPlan, origin: SnapshotOrigin, epochs: float | None = None
) -> RunPlan:
    """The plan of the collapse of one snapshot.

    Args:
        parent: Of the run that kept the snapshot.
        origin: The snapshot that the collapse begins at.
        epochs: Length of the collapse, above 0; None: what the recipe says.

    Raises:
        InputError: The length is out of range, or not even one step.
    """
    if epochs is not None and not 0 < epochs <= 10_000:
        raise InputError("--epochs", epochs, "a number above 0, at most 10000", "--epochs 3")
    index = snapshot_phases(parent.recipe, parent.global_batch, parent.steps_per_epoch)[
        origin.snapshot - 1
    ]
    collapse = _collapse_of(parent.recipe, epochs)
    before = (
        msgspec.structs.replace(phase, snapshot=False) for phase in parent.recipe.phase[: index + 1]
    )
    recipe = msgspec.structs.replace(
        parent.recipe, total_epochs=None, phase=(*before, collapse), collapse=None
    )
    plan = msgspec.structs.replace(parent, recipe=recipe, stop_after_steps=None, origin=origin)
    if plan.total_steps <= origin.step:
        raise InputError(
            "--epochs",
            collapse.epochs,
            f"at least one step; an epoch has {parent.steps_per_epoch:.6g}",
            f"--epochs {1 / parent.steps_per_epoch:.3g}",
        )
    return plan


def _collapse_of(recipe: Recipe, epochs: float | None) -> Phase:
    collapse = recipe.collapse or load_recipe(DEFAULT_RECIPE).collapse
    assert collapse is not None
    if epochs is None:
        return collapse
    return msgspec.structs.replace(collapse, epochs=epochs, steps=None)
