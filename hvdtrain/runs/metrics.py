"""The lines of metrics.jsonl: what a run says of itself while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.runs.names import METRICS_FILE
from hvdtrain.runs.record import Straggler
from hvdtrain.runs.store import Malformed, read_regular


class MetricsLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of metrics.jsonl: a step, or an epoch's evaluation.

    Attributes:
        step: Updates made so far.
        epoch: Counted from 1.
        seconds: Since the training started.
        learning_rate: Rate of the last update.
        loss: Training loss of the last update, mean over the ranks; None on an evaluation.
        step_seconds: Of the last update, from its start to the start of the next.
        allreduce_seconds: The part of it that waited for the reduction, on rank 0.
        gradient_norm: L2 norm of the mean gradients of the last update, before clipping and decay;
            None on an evaluation, and in runs from before it was measured.
        top1: Of the evaluation; None on a step.
        top5: Of the evaluation; None on a step.
        evaluation_loss: Of the evaluation; None on a step.
        count: Images of the evaluation; None on a step.
        stragglers: Ranks for which the others waited in the epoch; empty on a step.
    """

    step: int
    epoch: int
    seconds: float
    learning_rate: float
    loss: float | None = None
    step_seconds: float | None = None
    allreduce_seconds: float | None = None
    gradient_norm: float | None = None
    top1: float | None = None
    top5: float | None = None
    evaluation_loss: float | None = None
    count: int | None = None
    stragglers: tuple[Straggler, ...] = ()


# Above this a whole number is no longer exact as a float, and no run is that long.
_MOST_STEPS = 2**53
_LINE = msgspec.json.Decoder(MetricsLine)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The lines of a run, in the order in which they were written.

    Attributes:
        steps: One for each update.
        evaluations: One for each evaluation.
        unreadable: Lines that are neither. The last line of a run that goes on may be one for a
            moment.
        reason: Why there are no lines although there is a file; None: there are.
    """

    steps: tuple[MetricsLine, ...] = ()
    evaluations: tuple[MetricsLine, ...] = ()
    unreadable: int = 0
    reason: str | None = None


def read_metrics(folder: Path) -> Metrics:
    """The metrics of the run in a folder; empty where it left none. Never raises."""
    try:
        data = read_regular(folder / METRICS_FILE)
    except FileNotFoundError:
        return Metrics()
    except OSError as error:
        return Metrics(reason=error.strerror or type(error).__name__)
    if isinstance(data, Malformed):
        return Metrics(reason=data.reason)
    steps: list[MetricsLine] = []
    evaluations: list[MetricsLine] = []
    unreadable = 0
    for encoded in data.splitlines():
        line = _decode(encoded)
        if line is None:
            unreadable += 1
        else:
            (steps if line.count is None else evaluations).append(line)
    return Metrics(steps=tuple(steps), evaluations=tuple(evaluations), unreadable=unreadable)


def _decode(encoded: bytes) -> MetricsLine | None:
    """The line; None: it is none that a run has written."""
    try:
        line = _LINE.decode(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return line if 0 <= line.step <= _MOST_STEPS else None
