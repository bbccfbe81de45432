"""The folder of a run: its plan, its metrics line by line, and the record that closes it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.record import METRICS_FILE, PLAN_FILE, RECORD_FILE, Record
from hvdtrain.plan.runplan import RunPlan


class MetricsLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of metrics.jsonl: a step, or an epoch's evaluation.

    Attributes:
        step: Updates made so far.
        epoch: Counted from 1.
        seconds: Since the training started.
        learning_rate: Of the last update.
        loss: Training loss of the last update, mean over the ranks; None on an evaluation.
        step_seconds: Of the last update.
        allreduce_seconds: The part of it that waited for the reduction, on rank 0.
        top1: Of the evaluation; None on a step.
        top5: Of the evaluation; None on a step.
        evaluation_loss: Of the evaluation; None on a step.
        count: Images of the evaluation; None on a step.
    """

    step: int
    epoch: int
    seconds: float
    learning_rate: float
    loss: float | None = None
    step_seconds: float | None = None
    allreduce_seconds: float | None = None
    top1: float | None = None
    top5: float | None = None
    evaluation_loss: float | None = None
    count: int | None = None


class RunFolder:
    """A run's folder under the results folder. Rank 0 makes it; any rank may close it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, results: Path, run_id: str, plan: RunPlan) -> RunFolder:
        """Make the folder and write the plan.

        Raises:
            InputError: The folder exists: a run is never written over.
            RunError: It cannot be made.
        """
        path = results / run_id
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise InputError(
                "--run-id", run_id, f"a name that {results} does not hold yet"
            ) from None
        except OSError as error:
            raise RunError(f"the folder {path} cannot be made: {error.strerror}") from None
        _write_new(path / PLAN_FILE, msgspec.json.format(msgspec.json.encode(plan)))
        return cls(path)

    def append(self, line: MetricsLine) -> None:
        """Add a line to the metrics."""
        encoded = msgspec.json.encode(line)
        with (self.path / METRICS_FILE).open("ab") as file:
            file.write(encoded + b"\n")

    def close(self, record: Record) -> bool:
        """Write the record, unless another rank has closed the run before.

        Returns:
            Whether this call wrote it.
        """
        encoded = msgspec.json.format(msgspec.json.encode(record))
        try:
            _write_new(self.path / RECORD_FILE, encoded)
        except FileExistsError:
            return False
        return True


def _write_new(path: Path, content: bytes) -> None:
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
