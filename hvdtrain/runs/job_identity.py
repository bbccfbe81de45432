"""Which Slurm job a process belongs to: the one place that reads it from the environment."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class JobIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job of Slurm, as a process in it sees it.

    Attributes:
        name: As Slurm's commands take it: `4711`, or `4711_3` for a task of an array.
        restarts: How often Slurm has started it again.
    """

    name: str
    restarts: int = 0


def read_job_identity(environ: Mapping[str, str]) -> JobIdentity | None:
    """The job that an environment was made for; None: it was made outside Slurm."""
    name = job_name_of(environ)
    if name is None:
        return None
    restarts = environ.get("SLURM_RESTART_COUNT", "0")
    return JobIdentity(name=name, restarts=int(restarts) if restarts.isdecimal() else 0)


def job_name_of(environ: Mapping[str, str]) -> str | None:
    """How Slurm's commands name the job of an environment; None: it was made outside Slurm.

    In an array SLURM_JOB_ID does not do: that of the last task is the number of the whole array,
    and a command that is given it takes all tasks.
    """
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return environ.get("SLURM_JOB_ID") or None
