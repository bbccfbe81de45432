"""The folder of a run from the moment it is submitted: its script and its submission."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.decode import load_json
from hvdtrain.plan.record import SCRIPT_FILE, SUBMISSION_FILE
from hvdtrain.plan.submission import Submission


def free_run_id(results: Path, wanted: str) -> str:
    """The name, or with a number behind it when a run has it already."""
    names = itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(results / name))


def reserve_run(results: Path, submission: Submission, script: str) -> Path:
    """Make the folder of a run with its script and its submission, all at once.

    Raises:
        InputError: A run of this name is there.
        RunError: The folder cannot be written.
    """
    folder = results / submission.run_id
    temporary = results / f".{submission.run_id}.{secrets.token_hex(4)}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            (temporary / SCRIPT_FILE).write_text(script, encoding="utf-8")
            (temporary / SUBMISSION_FILE).write_bytes(_encode(submission))
            # Takes the place of an empty folder at most.
            temporary.rename(folder)
        except OSError:
            _remove(temporary)
            raise
    except OSError as error:
        if folder.exists():
            raise InputError(
                "run", submission.run_id, f"a name that {results} does not hold yet"
            ) from None
        reason = error.strerror or type(error).__name__
        raise RunError(f"the folder {folder} cannot be made: {reason}") from None
    return folder


def discard_run(folder: Path) -> None:
    """Take a reserved folder away again: no job has it, so nothing else is in it."""
    hidden = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        folder.rename(hidden)
        _remove(hidden)


def write_submission(folder: Path, submission: Submission) -> None:
    """Put another submission in the place of the one that is there.

    Raises:
        OSError: It cannot be written.
    """
    temporary = folder / f".{SUBMISSION_FILE}.{secrets.token_hex(4)}"
    try:
        temporary.write_bytes(_encode(submission))
        temporary.replace(folder / SUBMISSION_FILE)
    finally:
        temporary.unlink(missing_ok=True)


def find_submission(results: Path, run_id: str) -> Submission | None:
    """The submission of a run; None: there is none.

    Raises:
        InputError: It cannot be read.
    """
    path = results / run_id / SUBMISSION_FILE
    return load_json(path, Submission) if path.is_file() else None


def _encode(submission: Submission) -> bytes:
    return msgspec.json.format(msgspec.json.encode(submission)) + b"\n"


def _remove(folder: Path) -> None:
    for name in (SCRIPT_FILE, SUBMISSION_FILE):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
