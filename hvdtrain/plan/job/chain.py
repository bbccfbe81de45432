"""A run longer than a job may be: several jobs, one after the other."""

from __future__ import annotations

import math

import msgspec

from hvdtrain.plan.forecast.forecast import STARTUP_MIN, Forecast
from hvdtrain.plan.job.job_plan import JobPlan


def jobs_needed(forecast: Forecast, walltime_min: int) -> int | None:
    """How many jobs of this wall time the run takes, each going on where the last one stopped.

    Every job spends the start-up again; training and evaluations take the upper end of the
    forecast.

    Returns:
        None: the wall time is too short for anything but the start-up.
    """
    useful_min = walltime_min - STARTUP_MIN
    if useful_min <= 0:
        return None
    return max(1, math.ceil(forecast.most_minutes / useful_min))


def plan_chained(plan: JobPlan, chain: int) -> JobPlan:
    """The plan of each job of a chain: where another job follows, none goes back into the queue.

    Unless the user has said otherwise of the directive.
    """
    if chain == 1 or "requeue" in plan.request.set_directives:
        return plan
    directives = {key: value for key, value in plan.directives.items() if key != "requeue"}
    return msgspec.structs.replace(plan, directives=directives)
