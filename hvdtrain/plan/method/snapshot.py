"""What an evaluation says of a network."""

from __future__ import annotations

import msgspec

from hvdtrain.files.numbers import Count, Fraction, PositiveInt


class EvaluationResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An evaluation over the whole validation set, summed over all ranks.

    Attributes:
        count: Images that were evaluated.
        top1: Fraction whose first guess was right.
        top5: Fraction with the right class among the first five guesses.
        loss: Mean cross-entropy in nats; None: it is not finite, and JSON has no number for that.
        corrupt: Images that could not be decoded and are not in `count`.
    """

    count: Count
    top1: Fraction
    top5: Fraction
    loss: float | None
    corrupt: Count = 0


class SnapshotOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A snapshot of another run.

    Attributes:
        run_id: The run that kept it.
        snapshot: Its number among the snapshots of that run, from 1. Source: Table XI.
        step: Updates that had been made.
        evaluation: Of the weights in the snapshot, on the whole validation set.
    """

    run_id: str
    snapshot: PositiveInt
    step: PositiveInt
    evaluation: EvaluationResult
