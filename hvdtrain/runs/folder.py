"""The folder of a run: its plan, its metrics line by line, and the record that closes it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.atomic import (
    create_file,
    create_folder,
    remove_folder,
    remove_leftovers,
    rename,
    replace_file,
    run_errors,
)
from hvdtrain.files.decode import load_json
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import (
    METRICS_FILE,
    PLAN_FILE,
    PREFLIGHT_FILE,
    RECORD_FILE,
    SCRIPT_FILE,
    SUBMISSION_FILE,
    WEIGHTS_FILE,
)
from hvdtrain.runs.preflight import Preflight
from hvdtrain.runs.record import Record
from hvdtrain.runs.submission import Submission

START_AGAIN = (
    "start the run again with the same --run-id: it goes on from its last checkpoint, if it has one"
)
"""What to do when a file of a run could not be written, and now can."""

BEFORE_THE_RUN = (PREFLIGHT_FILE, SCRIPT_FILE, SUBMISSION_FILE)
"""What a run's folder may hold before the run begins."""


class RunFolder:
    """A run's folder under the results folder. Rank 0 makes it; any rank may close it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, results: Path, run_id: str, plan: RunPlan) -> RunFolder:
        """Make the folder and write the plan.

        Raises:
            InputError: The folder holds something: a run is never written over.
            RunError: It cannot be made.
        """
        path = results / run_id
        with run_errors(f"the folder {path} cannot be made"):
            try:
                path.mkdir(parents=True, exist_ok=True)
                # A run that was cut off before its plan was there leaves a hidden file, if any; one
                # that was submitted waits with its script, and its preflight has left a report.
                taken = any(
                    not name.startswith(".") and name not in BEFORE_THE_RUN
                    for name in os.listdir(path)
                )
            except FileExistsError:
                taken = True
        if taken or not create_file(path / PLAN_FILE, _encode(plan), START_AGAIN):
            raise InputError("--run-id", run_id, f"a name that {results} does not hold yet")
        return cls(path)

    def keep_preflight(self, report: Preflight) -> None:
        """Write the report of a preflight, in place of that of an earlier start of the run.

        Raises:
            RunError: It cannot be written.
        """
        path = self.path / PREFLIGHT_FILE
        with run_errors(f"{path} cannot be written"):
            self.path.mkdir(parents=True, exist_ok=True)
        replace_file(path, _encode(report))

    @property
    def holds_run(self) -> bool:
        """Whether a run has left its plan or its record here."""
        return any((self.path / name).exists() for name in (PLAN_FILE, RECORD_FILE))

    @property
    def is_completed(self) -> bool:
        """Whether it holds the record of a completed run.

        Raises:
            InputError: The record cannot be read.
        """
        record = self.path / RECORD_FILE
        return record.exists() and load_json(record, Record).status == "completed"

    def read_plan(self) -> RunPlan:
        """The plan of the run.

        Raises:
            InputError: It cannot be read.
        """
        return load_json(self.path / PLAN_FILE, RunPlan)

    def check_unfinished(self, allow_change: bool | None) -> None:
        """Raise if the run has ended for good.

        Args:
            allow_change: Whether it may go on with another plan: then a diverged run may. None:
                it cannot be asked for.

        Raises:
            InputError: It has.
        """
        record = self.path / RECORD_FILE
        if not record.exists():
            return
        status = load_json(record, Record).status
        if status == "completed" or (status == "diverged" and allow_change is None):
            fix = "use another --run-id"
        elif status == "diverged" and not allow_change:
            fix = "use another --run-id, or change the recipe and add --allow-change"
        else:
            return
        raise InputError(
            "--run-id", self.path.name, f"a run that can go on, and this one has {status}", fix
        )

    def reopen(self, plan: RunPlan, step: int, epochs: int) -> None:
        """Make the folder what it was when a checkpoint was written.

        The record of a failure is kept as `record-1.json` and so on. What the metrics say of
        later steps goes: those steps are made again.

        Args:
            plan: What the run will do from now on.
            step: Updates made, 0 without a checkpoint.
            epochs: Epochs that have been evaluated.

        Raises:
            RunError: The folder cannot be written to.
        """
        for name in (PLAN_FILE, METRICS_FILE, RECORD_FILE, WEIGHTS_FILE, PREFLIGHT_FILE):
            remove_leftovers(self.path, name)
        record = self.path / RECORD_FILE
        if record.exists():
            numbers = itertools.count(1)
            rename(record, next(p for n in numbers if not (p := _numbered(record, n)).exists()))
        if plan != self.read_plan():
            replace_file(self.path / PLAN_FILE, _encode(plan), START_AGAIN)
        metrics = self.path / METRICS_FILE
        if metrics.exists():
            with run_errors(f"{metrics} cannot be read"):
                before = metrics.read_bytes()
            replace_file(metrics, b"".join(_lines_until(before, step, epochs)), START_AGAIN)

    def append(self, *lines: MetricsLine) -> None:
        """Add lines to the metrics, in one write that is on the disk when this returns.

        Raises:
            RunError: They cannot be written.
        """
        path = self.path / METRICS_FILE
        encoded = memoryview(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        with (
            run_errors(f"{path} cannot be written", START_AGAIN),
            path.open("ab", buffering=0) as file,
        ):
            whole = file.tell()
            try:
                while encoded:  # a disk that fills up takes a part, and then nothing
                    encoded = encoded[file.write(encoded) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)
                raise

    def close(self, record: Record) -> bool:
        """Write the record, unless another rank has closed the run before.

        Returns:
            Whether this call wrote it.

        Raises:
            RunError: It cannot be written.
        """
        return create_file(self.path / RECORD_FILE, _encode(record), START_AGAIN)


def _numbered(record: Path, number: int) -> Path:
    return record.with_name(f"{record.stem}-{number}{record.suffix}")


def _lines_until(metrics: bytes, step: int, epochs: int) -> Iterator[bytes]:
    """The whole lines about the first steps and about the evaluations of the first epochs."""
    for encoded in metrics.splitlines(keepends=True):
        try:
            line = msgspec.json.decode(encoded, type=MetricsLine)
        except msgspec.DecodeError:
            continue
        is_evaluation = line.count is not None
        if encoded.endswith(b"\n") and (
            line.epoch <= epochs if is_evaluation else line.step <= step
        ):
            yield encoded


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
    files = {SCRIPT_FILE: script.encode(), SUBMISSION_FILE: _encode(submission) + b"\n"}
    if not create_folder(folder, files):
        raise InputError("run", submission.run_id, f"a name that {results} does not hold yet")
    return folder


def renew_script(folder: Path, script: str) -> None:
    """Put another script in the place of the one that a run was submitted with.

    Raises:
        RunError: It cannot be written.
    """
    replace_file(folder / SCRIPT_FILE, script.encode())


def discard_run(folder: Path) -> None:
    """Take a reserved folder away again: no job has it, so nothing else is in it."""
    hidden = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(RunError):
        rename(folder, hidden)
        remove_folder(hidden, (SCRIPT_FILE, SUBMISSION_FILE))


def write_submission(folder: Path, submission: Submission) -> None:
    """Put another submission in the place of the one that is there.

    Raises:
        RunError: It cannot be written.
    """
    replace_file(folder / SUBMISSION_FILE, _encode(submission) + b"\n")


def find_submission(results: Path, run_id: str) -> Submission | None:
    """The submission of a run; None: there is none.

    Raises:
        InputError: It cannot be read.
    """
    path = results / run_id / SUBMISSION_FILE
    return load_json(path, Submission) if path.is_file() else None


def _encode(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content))
