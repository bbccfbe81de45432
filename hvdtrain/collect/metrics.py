"""What a run said of itself while it went on: the lines of its metrics.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.collect.store import Malformed, read_regular
from hvdtrain.plan.metrics import MetricsLine
from hvdtrain.plan.record import METRICS_FILE

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
        try:
            line = _LINE.decode(encoded)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            unreadable += 1
        else:
            (steps if line.count is None else evaluations).append(line)
    return Metrics(steps=tuple(steps), evaluations=tuple(evaluations), unreadable=unreadable)
