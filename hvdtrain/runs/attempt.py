"""How often a job starts its run again, when it does so, and how much notice it asks for.

A job that is started again goes on from its newest checkpoint. One that never gets past it would
do so for ever; three restarts from the same checkpoint are enough to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import replace_file, run_errors
from hvdtrain.files.numbers import Count
from hvdtrain.runs.names import ATTEMPT_FILE, HANG_FILE, failure_file

MOST_RESTARTS = 3
"""From the same checkpoint."""


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
            step: Updates in the newest checkpoint now; 0: there is none.
        """
        return step > self.step or self.restarts < MOST_RESTARTS


def next_attempt(before: Attempt | None, step: int) -> Attempt:
    """The start after another one.

    Args:
        before: The one before it in this job; None: this is the first.
        step: Updates in the newest checkpoint now; 0: there is none.
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
    with run_errors(f"{path} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(attempt))


def write_failure(folder: Path, job: str, reason: str) -> None:
    """Tell a job's script that another start of its ranks would end in the same way.

    Args:
        folder: The run's folder.
        job: As Slurm's commands name it.
        reason: Why the ranks end. Where it cannot be written, the file says nothing but that.
    """
    path = folder / failure_file(job)
    try:
        replace_file(path, f"{reason}\n".encode())
    except RunError:
        # A disk that is full has often room for a name.
        with contextlib.suppress(OSError):
            path.touch()


def read_failure(folder: Path, job: str) -> str | None:
    """Why a job's ranks have ended, in one line; None: another start may end better."""
    try:
        said = (folder / failure_file(job)).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    return said[0] if said else "its ranks have said why"


def remove_failure(folder: Path, job: str) -> None:
    """Forget why the ranks of a job's earlier start have ended."""
    path = folder / failure_file(job)
    with run_errors(f"{path} cannot be removed"):
        path.unlink(missing_ok=True)


def forget_attempts(folder: Path, jobs: Iterable[str]) -> None:
    """Let a run be started as if it had not failed: somebody has seen to it.

    Args:
        folder: The run's folder.
        jobs: Those that have worked on it.

    Raises:
        RunError: What they have left cannot be removed.
    """
    for job in jobs:
        remove_failure(folder, job)
    path = folder / ATTEMPT_FILE
    with run_errors(f"{path} cannot be removed"):
        path.unlink(missing_ok=True)


def write_hang(folder: Path, reason: str) -> None:
    """Tell a job's script, and whoever asks, that the ranks were ended because one of them hung.

    Raises:
        RunError: It cannot be written.
    """
    path = folder / HANG_FILE
    with run_errors(f"{path} cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, f"{reason}\n".encode())


def read_hang(folder: Path) -> str:
    """Why the ranks were ended, in one line; empty: none has hung."""
    try:
        return next(iter((folder / HANG_FILE).read_text(errors="replace").splitlines()), "")
    except OSError:
        return ""


def remove_hang(folder: Path) -> None:
    """Forget it, as the run is started again."""
    path = folder / HANG_FILE
    with run_errors(f"{path} cannot be removed"):
        path.unlink(missing_ok=True)
