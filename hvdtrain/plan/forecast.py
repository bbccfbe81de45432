"""How long a run will take, from the step time that was fitted for a system."""

from __future__ import annotations

import math

import msgspec

from hvdtrain.plan.runplan import RunPlan
from hvdtrain.plan.system import StepTime

WALLTIME_MARGIN = 1.25
"""A job that is cut off costs more than one that ends early."""

STARTUP_MIN = 15
"""Minutes for staging, the world check, the first step and the evaluations."""


class Forecast(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Calculated, not measured.

    Attributes:
        step_seconds: Seconds of one update.
        epoch_seconds: Seconds of one epoch's updates.
        images_per_second: Of all nodes together.
        minutes_to_train: All updates, without evaluation and start-up.
        node_hours: Nodes times that.
        walltime_min: What to ask for: with a margin and the start-up.
    """

    step_seconds: float
    epoch_seconds: float
    images_per_second: float
    minutes_to_train: float
    node_hours: float
    walltime_min: int


def make_forecast(plan: RunPlan, step_time: StepTime) -> Forecast:
    """The forecast of a plan on the system that `step_time` was fitted on."""
    step_seconds = step_time.step_seconds(plan.node_batch, plan.nodes)
    minutes = plan.total_steps * step_seconds / 60
    return Forecast(
        step_seconds=step_seconds,
        epoch_seconds=step_seconds * plan.dataset.train_images / plan.global_batch,
        images_per_second=plan.global_batch / step_seconds,
        minutes_to_train=minutes,
        node_hours=minutes / 60 * plan.nodes,
        walltime_min=math.ceil(minutes * WALLTIME_MARGIN) + STARTUP_MIN,
    )
