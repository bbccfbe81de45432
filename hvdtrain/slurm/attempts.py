"""What a job knows of its own starts, kept in the folder of its run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.plan.attempt import ATTEMPT_FILE, Attempt


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


def requeue_job(job: str) -> str:
    """Put a job, perhaps this one, back into the queue.

    Returns:
        Why Slurm did not; empty when it did.
    """
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
