"""The lines of metrics.jsonl: what a run says of itself while it goes on."""

from __future__ import annotations

import msgspec

from hvdtrain.plan.record import Straggler


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
        stragglers: Ranks for which the others waited in the epoch; empty on a step.
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
    stragglers: tuple[Straggler, ...] = ()
