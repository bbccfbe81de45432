"""Read a results folder: one folder per run, each with a plan and, once it ended, a record."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.atomic import create_folder
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.names import ENSEMBLE_FILE, PLAN_FILE, RECORD_FILE
from hvdtrain.runs.record import SCHEMA_VERSION, Record

T = TypeVar("T")

# The record of 100,000 ranks is a tenth of this. A larger file is something else.
_MAX_BYTES = 256 * 2**20
# Above this, whole numbers are no longer exact in JSON readers, and nothing is that large.
_MAX_COUNT = 2**53
_RECORD = msgspec.json.Decoder(Record)
_PLAN = msgspec.json.Decoder(RunPlan)
_ENSEMBLE = msgspec.json.Decoder(Ensemble)


class Incomplete(msgspec.Struct, frozen=True, kw_only=True):
    """A run that left a plan and no record: it was cut off, or it still runs."""

    run_id: str
    plan: RunPlan


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """A folder or a file that cannot be believed, and why."""

    path: Path
    reason: str


class _Version(msgspec.Struct):
    schema_version: int


def read_results(results: Path) -> Iterator[Record | Incomplete | Malformed]:
    """What each run in a results folder left, in order of their folders' names.

    Files, and folders with neither a plan nor a record, are not runs and are passed over. One
    run is held at a time: thousands of long records need no memory.

    Raises:
        InputError: `results` is missing, is not a folder, or cannot be read; or it is the folder
            of a single run.
    """
    for name in list_runs(results):
        found = _read_run(results / name)
        if found is not None:
            yield found


def list_runs(results: Path) -> list[str]:
    """The names in a results folder that a run may have, sorted.

    What is hidden is not a run: it is made or removed just now. Nor is a second name of one, such
    as a link `latest`: a run has the name that its folder has.

    Raises:
        InputError: As of `read_results`.
    """
    try:
        with os.scandir(results) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and not _is_second_name(entry)
            )
    except NotADirectoryError:
        raise InputError("RESULTS", str(results), "a folder, and this is a file") from None
    except FileNotFoundError:
        fix = "name the folder that holds the folders of your runs; hvdtrain dry-run makes one"
        raise InputError("RESULTS", str(results), "a folder that exists", fix) from None
    except OSError as error:
        raise InputError("RESULTS", str(results), _reason(error)) from None
    if RECORD_FILE in names or PLAN_FILE in names:
        fix = f"use {results.resolve().parent}"
        raise InputError("RESULTS", str(results), "the folder above: this is one run's own", fix)
    return names


def _is_second_name(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to another folder here."""
    if not entry.is_symlink() or not os.path.isdir(entry.path):
        return False
    folder = os.path.realpath(os.path.dirname(entry.path))
    return os.path.dirname(os.path.realpath(entry.path)) == folder


def read_ensembles(results: Path) -> Iterator[tuple[str, Ensemble] | Malformed]:
    """The ensembles in a results folder with the names of their folders, in order of the names.

    Raises:
        InputError: As of `read_results`.
    """
    for name in list_runs(results):
        path = results / name / ENSEMBLE_FILE
        if os.path.exists(path):
            found = read_file(path, _ENSEMBLE)
            yield found if isinstance(found, Malformed) else (name, found)


def write_ensemble(results: Path, name: str, ensemble: Ensemble) -> Path:
    """Write an ensemble into a new folder of its own.

    Returns:
        The file.

    Raises:
        RunError: It cannot be written.
    """
    folder = results / name
    encoded = msgspec.json.format(msgspec.json.encode(ensemble))
    if not create_folder(folder, {ENSEMBLE_FILE: encoded}):
        raise RunError(f"{folder} is there already", "start again")
    return folder / ENSEMBLE_FILE


def find_record(results: Path, run_id: str, option: str) -> Record:
    """The record of one run, named by an option.

    Raises:
        InputError: There is no such run, it has no record, or the record cannot be believed.
    """
    path = results / run_id / RECORD_FILE
    if Path(run_id).name != run_id or not os.path.exists(path):
        raise InputError(option, run_id, f"a run that ended, with its {RECORD_FILE} in {results}")
    record = _read_record(path)
    if isinstance(record, Malformed):
        raise InputError(option, run_id, f"a record that can be believed: {record.reason}")
    return record


def _read_run(folder: Path) -> Record | Incomplete | Malformed | None:
    record = folder / RECORD_FILE
    if os.path.exists(record):  # most have one: no need to list the folder
        return _read_record(record)
    try:
        names = os.listdir(folder)
    except NotADirectoryError:
        return None
    except OSError as error:
        return Malformed(path=folder, reason=_reason(error))
    if RECORD_FILE in names:
        return _read_record(folder / RECORD_FILE)
    if PLAN_FILE in names:
        return _read_plan(folder / PLAN_FILE)
    return None


def _read_plan(path: Path) -> Incomplete | Malformed:
    plan = read_file(path, _PLAN)
    if isinstance(plan, Malformed):
        return plan
    contradiction = _plan_contradiction(plan)
    if contradiction is not None:
        return Malformed(path=path, reason=contradiction)
    return Incomplete(run_id=path.parent.name, plan=plan)


def _read_record(path: Path) -> Record | Malformed:
    record = read_file(path, _RECORD)
    if isinstance(record, Malformed):
        return record
    contradiction = _contradiction(record, path.parent.name) or _plan_contradiction(record.plan)
    return record if contradiction is None else Malformed(path=path, reason=contradiction)


def _plan_contradiction(plan: RunPlan) -> str | None:
    """Why a plan that fits its type was never made; None: nothing speaks against it."""
    if plan.dataset.train_images > _MAX_COUNT:
        return "its plan has more training images than any data set"
    images = plan.dataset.train_images
    if plan.global_batch > images or plan.epoch_images > images:
        return "an epoch of its plan takes more images than the data set has"
    return None


def _contradiction(record: Record, folder: str) -> str | None:
    """Why a record that fits its type is still not true; None: nothing speaks against it."""
    if record.run_id != folder:
        return f"its run_id is {record.run_id!r}: a record belongs in the folder of its name"
    if record.steps > _MAX_COUNT:
        return "it made more steps than any run"
    if record.kind == "measured" and record.plan.source.kind == "synthetic":
        return "its kind is measured, and its plan has synthetic images"
    counts = (number for epoch in record.epochs for number in (epoch.epoch, epoch.steps))
    if max(counts, default=0) > _MAX_COUNT:
        return "it has an epoch with more updates than any run, or a number beyond all epochs"
    if record.status == "completed" and record.failure is not None:
        return "its status is completed, and it names a failure"
    return None


def read_file(path: Path, decoder: msgspec.json.Decoder[T]) -> T | Malformed:
    """What is in a file of a run, or why it cannot be believed."""
    try:
        data = read_regular(path)
    except OSError as error:
        return Malformed(path=path, reason=_reason(error))
    if isinstance(data, Malformed):
        return data
    try:
        return decoder.decode(data)
    except InputError as error:
        reason = f"{error.field}: {error.value!r} is not possible: {error.allowed}"
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason = str(error)
    return Malformed(path=path, reason=_newer_schema(data) or reason)


def read_regular(path: Path) -> bytes | Malformed:
    """The bytes of a file, unless it is a pipe or a device, which would never end.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            return Malformed(path=path, reason=f"larger than {_MAX_BYTES >> 20} MiB")
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it, unless it is a pipe or a device, which would never end.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    # A pipe would wait for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _newer_schema(data: bytes) -> str | None:
    """Says so when a newer hvdtrain wrote it: that is the fault, not the fields it added."""
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if version <= SCHEMA_VERSION:
        return None
    return f"its schema_version is {version}, and this hvdtrain reads up to {SCHEMA_VERSION}"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
