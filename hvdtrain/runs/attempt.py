"""How often a job starts its run again, when it does so, and how much notice it asks for.

A job that is started again goes on from its newest checkpoint. One that never gets past it would
do so for ever; three restarts from the same checkpoint are enough to know.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.errors import RunError

ATTEMPT_FILE = ".attempt"
"""In the run's folder: the present start, written by the job's script."""

STOP_FILE = ".stop"
"""In the run's folder: while it is there, the ranks end after their step, with a checkpoint."""

MOST_RESTARTS = 3
"""From the same checkpoint."""


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


def read_attempt(folder: Path) -> Attempt | None:
    """The present start of a run; None: it has not been started, or the file is damaged."""
    try:
        return msgspec.json.decode((folder / ATTEMPT_FILE).read_bytes(), type=Attempt)
    except (OSError, msgspec.MsgspecError):
        return None


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Keep a start; the folder is made when it is missing.

    Raises:
        RunError: It cannot be written.
    """
    path = folder / ATTEMPT_FILE
    temporary = path.with_name(f"{ATTEMPT_FILE}.new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(attempt))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}",
            "make room, or make the folder of the results writable",
        ) from None
