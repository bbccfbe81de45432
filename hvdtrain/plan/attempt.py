"""How often a job starts its run again, when it does so, and how much notice it asks for.

A job that is started again goes on from its newest checkpoint. One that never gets past it would
do so for ever; three restarts from the same checkpoint are enough to know.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.plan.forecast import Forecast
from hvdtrain.plan.runplan import RunPlan

ATTEMPT_FILE = ".attempt"
"""In the run's folder: the present start, written by the job's script."""

STOP_FILE = ".stop"
"""In the run's folder: while it is there, the ranks end after their step, with a checkpoint."""

MOST_RESTARTS = 3
"""From the same checkpoint."""

UNKNOWN_NOTICE_SECONDS = 600
"""Where no step time is known."""

LEAVING_SECONDS = 180
"""For a checkpoint on a busy file system, the end of all ranks, and removing staged data."""

Count = Annotated[int, Meta(ge=0)]


def failure_file(job: str) -> str:
    """In the run's folder: why a job's ranks ended, when starting them again would not help.

    It has the job's number, because another job may fail just because this one is at work.
    """
    return f".failure-{job}"


class Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One start of a run.

    Attributes:
        step: Of the newest checkpoint when it began; 0: there was none.
        restarts: How often the run had been started again from there, this time included.
    """

    step: Count
    restarts: Count

    @property
    def is_one_too_many(self) -> bool:
        """Whether the run should not be started any more."""
        return self.restarts > MOST_RESTARTS

    def may_be_followed(self, step: int) -> bool:
        """Whether it makes sense to start the run once more.

        Args:
            step: Of the newest checkpoint now.
        """
        return step > self.step or self.restarts < MOST_RESTARTS


def next_attempt(before: Attempt | None, step: int) -> Attempt:
    """The start after another one.

    Args:
        before: The one before it in this job; None: this is the first.
        step: Of the newest checkpoint now.
    """
    if before is None:
        return Attempt(step=step, restarts=0)
    return Attempt(step=step, restarts=1 if step > before.step else before.restarts + 1)


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
