"""What every run of a results folder has left so far, read so that a thousand runs take no time.

Of a record only what tells how the run ended is read, of the metrics only their last lines.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.attempt import read_hang
from hvdtrain.runs.names import METRICS_FILE, PLAN_FILE, RECORD_FILE, SUBMISSION_FILE
from hvdtrain.runs.record import Status
from hvdtrain.runs.state import Ended, Planned, Progress, RunFacts
from hvdtrain.runs.store import Malformed, list_runs, open_regular, read_file
from hvdtrain.runs.submission import Submission

T = TypeVar("T")

TAIL_BYTES = 32 * 1024
"""Of the metrics: some 200 lines."""


class _Straggler(msgspec.Struct):
    """A rank for which the others waited, where a run names such."""

    rank: int
    host: str
    ratio: float


class _Epoch(msgspec.Struct):
    epoch: int
    stragglers: tuple[_Straggler, ...] = ()


class _Record(msgspec.Struct):
    """The part of a record that tells how the run ended."""

    status: Status
    steps: int
    images_per_second: float | None = None
    failure: str | None = None
    epochs: tuple[_Epoch, ...] = ()


class _Line(msgspec.Struct):
    """The part of a line of the metrics that tells how far the run is."""

    step: int
    epoch: int
    seconds: float
    step_seconds: float | None = None
    count: int | None = None
    stragglers: tuple[_Straggler, ...] = ()


_RECORD = msgspec.json.Decoder(_Record)
_PLAN = msgspec.json.Decoder(RunPlan)
_SUBMISSION = msgspec.json.Decoder(Submission)
_LINE = msgspec.json.Decoder(_Line)


def read_runs(results: Path) -> Iterator[RunFacts]:
    """Every run of a results folder, submitted or begun, in order of their names.

    Raises:
        InputError: `results` is missing, is not a folder, or is the folder of a single run.
    """
    for name in list_runs(results):
        facts = read_run(results / name)
        if facts is not None:
            yield facts


def read_run(folder: Path) -> RunFacts | None:
    """What is in a folder; None: it is not a run's."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    if not {SUBMISSION_FILE, PLAN_FILE, RECORD_FILE} & set(names):
        return None
    faults: list[str] = []
    submission = _read(folder / SUBMISSION_FILE, _SUBMISSION, names, faults)
    plan = _read(folder / PLAN_FILE, _PLAN, names, faults)
    record = _read(folder / RECORD_FILE, _RECORD, names, faults)
    planned = _planned(plan, faults)
    return RunFacts(
        run_id=folder.name,
        submission=submission,
        planned=planned,
        progress=read_progress(folder / METRICS_FILE) if METRICS_FILE in names else None,
        ended=_ended(record),
        hang=read_hang(folder),
        fault="; ".join(faults),
    )


def read_progress(path: Path) -> Progress | None:
    """How far the metrics have come, from their last whole lines; None: there are none."""
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            start = max(0, status.st_size - TAIL_BYTES)
            file.seek(start)
            tail = file.read(TAIL_BYTES)
    except OSError:
        return None
    # The first line may have lost its beginning, and the last one may still be growing.
    whole = tail.split(b"\n")[1 if start else 0 : -1]
    lines = [line for line in map(_decode_line, whole) if line is not None]
    if not lines:
        return None
    seconds = [line.step_seconds for line in lines if line.step_seconds is not None]
    # The line of an evaluation speaks of its whole epoch.
    epochs = [line for line in lines if line.count is not None]
    last = lines[-1]
    return Progress(
        step=last.step,
        epoch=last.epoch,
        seconds=last.seconds,
        written=status.st_mtime,
        step_seconds=statistics.median(seconds[-50:]) if seconds else None,
        stragglers=_names(epochs[-1].stragglers) if epochs else (),
    )


def _decode_line(encoded: bytes) -> _Line | None:
    try:
        return _LINE.decode(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _read(
    path: Path, decoder: msgspec.json.Decoder[T], names: list[str], faults: list[str]
) -> T | None:
    if path.name not in names:
        return None
    found = read_file(path, decoder)
    if isinstance(found, Malformed):
        faults.append(f"{path.name}: {found.reason}")
        return None
    return found


def _planned(plan: RunPlan | None, faults: list[str]) -> Planned | None:
    if plan is None:
        return None
    try:
        total_steps = plan.total_steps
    except InputError as error:
        faults.append(f"{PLAN_FILE}: {error.field}: {error.allowed}")
        return None
    return Planned(
        total_steps=total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        global_batch=plan.global_batch,
    )


def _ended(record: _Record | None) -> Ended | None:
    if record is None:
        return None
    return Ended(
        status=record.status,
        step=record.steps,
        epoch=record.epochs[-1].epoch if record.epochs else 0,
        images_per_second=record.images_per_second,
        failure=record.failure,
        stragglers=_names(record.epochs[-1].stragglers) if record.epochs else (),
    )


def _names(stragglers: tuple[_Straggler, ...]) -> tuple[str, ...]:
    return tuple(f"{each.host} (rank {each.rank}, x {each.ratio:.2f})" for each in stragglers)
