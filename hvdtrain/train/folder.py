"""The folder of a run: its plan, its metrics line by line, and the record that closes it."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.decode import load_json
from hvdtrain.plan.metrics import MetricsLine
from hvdtrain.plan.preflight import PREFLIGHT_FILE, Preflight
from hvdtrain.plan.record import (
    METRICS_FILE,
    PLAN_FILE,
    RECORD_FILE,
    SCRIPT_FILE,
    SUBMISSION_FILE,
    Record,
)
from hvdtrain.plan.runplan import RunPlan

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
        try:
            path.mkdir(parents=True, exist_ok=True)
            # A run that was cut off before its plan was there leaves a hidden file, if any; one
            # that was submitted waits with its script, and its preflight has left a report.
            taken = any(
                not name.startswith(".") and name not in BEFORE_THE_RUN for name in os.listdir(path)
            )
        except FileExistsError:
            taken = True
        except OSError as error:
            raise RunError(f"the folder {path} cannot be made: {error.strerror}") from None
        if taken:
            raise InputError("--run-id", run_id, f"a name that {results} does not hold yet")
        try:
            write_new(path / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan)))
        except OSError as error:
            raise RunError(f"{path / PLAN_FILE} cannot be written: {error.strerror}") from None
        return cls(path)

    def keep_preflight(self, report: Preflight) -> None:
        """Write the report of a preflight, in place of that of an earlier start of the run.

        Raises:
            RunError: It cannot be written.
        """
        path = self.path / PREFLIGHT_FILE
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _replace(path, msgspec.json.format(msgspec.json.encode(report)))
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}") from None

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
        """
        record = self.path / RECORD_FILE
        if record.exists():
            numbers = itertools.count(1)
            record.rename(next(p for n in numbers if not (p := _aside(record, n)).exists()))
        if plan != self.read_plan():
            _replace(self.path / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan)))
        metrics = self.path / METRICS_FILE
        if metrics.exists():
            _replace(metrics, b"".join(_lines_until(metrics.read_bytes(), step, epochs)))

    def append(self, line: MetricsLine) -> None:
        """Add a line to the metrics.

        Raises:
            RunError: It cannot be written.
        """
        encoded = msgspec.json.encode(line)
        path = self.path / METRICS_FILE
        try:
            with path.open("ab") as file:
                file.write(encoded + b"\n")
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}") from None

    def close(self, record: Record) -> bool:
        """Write the record, unless another rank has closed the run before.

        Returns:
            Whether this call wrote it.
        """
        encoded = msgspec.json.format(msgspec.json.encode(record))
        try:
            write_new(self.path / RECORD_FILE, encoded)
        except FileExistsError:
            return False
        return True


def _aside(record: Path, number: int) -> Path:
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


def _replace(path: Path, content: bytes) -> None:
    """Put other content into a file, at once."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet, so that nobody ever sees half of it.

    Raises:
        FileExistsError: It exists.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        # A link fails where the name is taken; a rename would replace what is there.
        os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
