"""How long before its end a job is warned."""

from __future__ import annotations

import math

from hvdtrain.plan.forecast.forecast import Forecast
from hvdtrain.plan.method.run_plan import RunPlan

UNKNOWN_NOTICE_SECONDS = 600
"""Where no step time is known."""


LEAVING_SECONDS = 180
"""For a checkpoint on a busy file system, the end of all ranks, and removing staged data."""


def notice_seconds(run: RunPlan, forecast: Forecast | None, walltime_min: int) -> int:
    """Seconds before the time limit at which the job wants to be told.

    The ranks stop after a step, or after the evaluation that they are in, and write a checkpoint.
    An image takes no longer to evaluate than to train on. A short job keeps three quarters of its
    time for its work.

    Args:
        run: What the ranks do.
        forecast: None: no step time is known.
        walltime_min: Minutes of the job.
    """
    wanted = UNKNOWN_NOTICE_SECONDS
    if forecast is not None:
        evaluation = run.dataset.validation_images / forecast.images_per_second.low
        wanted = math.ceil(forecast.step_seconds.high + evaluation + LEAVING_SECONDS)
    # Slurm keeps this number in 16 bits.
    return min(wanted, walltime_min * 60 // 4, 2**16 - 1)
