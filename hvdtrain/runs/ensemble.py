"""The result of an ensemble: what its models say alone, and what their average says.

`ensemble.json` is written once, into a folder of its own beside the folders of the runs.
Source: Table XI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.numbers import NonNegativeFloat, PositiveInt
from hvdtrain.plan.method.dataset import DatasetInfo
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.plan_diff import plan_changes
from hvdtrain.runs.record import Kind, Record, Versions

ENSEMBLE_SCHEMA_VERSION: Final = 1


class EnsembleMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model of the ensemble.

    Attributes:
        run_id: Name of the run that trained it.
        weights_sha256: Of its final weights.
        epochs: Length of its training, that before its snapshot included.
        origin: The snapshot that it was collapsed from; None: it was trained from the start.
        evaluation: Of its final weights alone.
    """

    run_id: str
    weights_sha256: str
    epochs: NonNegativeFloat
    origin: SnapshotOrigin | None = None
    evaluation: EvaluationResult


class EnsembleRow(NamedTuple):
    """A row of Table XI.

    Attributes:
        number: `3` for a snapshot, `3c` when it has been collapsed, `ensemble` for the average;
            `-` for a model that was trained from the start.
        run_id: The run that made the model; empty for the average.
        evaluation: Loss, top-1 and top-5.
    """

    number: str
    run_id: str
    evaluation: EvaluationResult


class Ensemble(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An ensemble that has been evaluated.

    Attributes:
        kind: `measured` on real images, `synthetic` on made-up ones.
        made: UTC, ISO 8601.
        seconds: Wall time of the evaluation.
        ranks: Ranks that it ran on.
        model: Network, image size and classes, the same of all members.
        dataset: What they were trained and evaluated on.
        versions: What ran.
        git_commit: Of the source tree it ran from; None: not from a checkout.
        members: The models, in the order in which they were given.
        evaluation: Of the mean of their softmax outputs.
    """

    schema_version: Literal[1] = ENSEMBLE_SCHEMA_VERSION
    kind: Kind
    made: str
    seconds: NonNegativeFloat
    ranks: PositiveInt
    model: ModelSpec
    dataset: DatasetInfo
    versions: Versions
    git_commit: str | None = None
    members: Annotated[tuple[EnsembleMember, ...], Meta(min_length=1)]
    evaluation: EvaluationResult

    @property
    def rows(self) -> tuple[EnsembleRow, ...]:
        """The rows of Table XI: each snapshot before its first model, the ensemble at the end."""
        rows = dict.fromkeys(row for member in self.members for row in _rows_of(member))
        return (*rows, EnsembleRow("ensemble", "", self.evaluation))


def _rows_of(member: EnsembleMember) -> Iterator[EnsembleRow]:
    origin = member.origin
    if origin is None:
        yield EnsembleRow("-", member.run_id, member.evaluation)
        return
    yield EnsembleRow(str(origin.snapshot), origin.run_id, origin.evaluation)
    yield EnsembleRow(f"{origin.snapshot}c", member.run_id, member.evaluation)


def check_members(records: Sequence[Record]) -> None:
    """Raise unless the final weights of these runs can be averaged over one validation set.

    Raises:
        InputError: A run is not completed or is there twice, or its network or its data are others
            than those of the first run.
    """
    for number, record in enumerate(records):
        if record.status != "completed":
            allowed = f"a run that is completed, and this one is {record.status}"
            raise InputError("RUN", record.run_id, allowed, "leave it out, or continue it")
        if record.weights_sha256 in [other.weights_sha256 for other in records[:number]]:
            raise InputError("RUN", record.run_id, "each model once: these weights are there twice")
        changes = [
            change
            for change in plan_changes(records[0].plan, record.plan)
            if change.startswith(("model.", "dataset.", "source."))
        ]
        if changes:
            raise InputError(
                "RUN",
                record.run_id,
                f"a model of the same network and data as {records[0].run_id}:\n  "
                + "\n  ".join(changes),
                "leave it out",
            )
