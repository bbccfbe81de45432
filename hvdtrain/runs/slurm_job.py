"""A job as Slurm's queue shows it."""

from __future__ import annotations

import msgspec

# Slurm still holds such a job, and it has not ended.
WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
RUNNING = frozenset(
    {
        *("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"),
        *("STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"),
    }
)


class SlurmJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job, or a task of an array. Its texts are Slurm's: data, never words of a command.

    Attributes:
        job: Its id, `4711` or `4711_3`.
        name: Its name.
        partition: Its partition.
        qos: Its QOS; what stands here without an accounting database means nothing.
        state: Slurm's word, such as PENDING.
        reason: Why it waits, Slurm's word; empty: Slurm gives none.
        starts: When it started or is expected to; seconds since 1970; None: not known.
        ends: When it must have ended; seconds since 1970; None: not known.
    """

    job: str
    name: str
    partition: str
    qos: str
    state: str
    reason: str
    starts: float | None = None
    ends: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it is in the queue and does not run."""
        return self.state in WAITING

    @property
    def is_running(self) -> bool:
        """Whether it has nodes."""
        return self.state in RUNNING

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.is_waiting or self.is_running
