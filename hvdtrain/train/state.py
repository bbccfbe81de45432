"""How far a training has come: the one state that the loop keeps and a checkpoint holds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.files.numbers import Count, NonNegativeFloat
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.record import EpochResult, EvaluationResult


class StepTimes(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Seconds of the updates of one rank: what a run's speed is calculated from.

    Attributes:
        steps: Updates made.
        counted: Those of them that count: not the first ones of each start.
        seconds: Of those that count, each from its start to the start of the next.
        exposed_seconds: Of their wait for the reduction.
    """

    steps: int = 0
    counted: int = 0
    seconds: float = 0.0
    exposed_seconds: float = 0.0

    def add(self, seconds: float, exposed_seconds: float, *, counts: bool) -> None:
        """One more update."""
        self.steps += 1
        if counts:
            self.counted += 1
            self.seconds += seconds
            self.exposed_seconds += exposed_seconds

    @property
    def mean_seconds(self) -> float | None:
        """Seconds of an update that counts; None before there is one."""
        return self.seconds / self.counted if self.counted else None

    @property
    def exposed_share(self) -> float | None:
        """Share of the update that waited for the reduction; None before there is one."""
        return min(1.0, self.exposed_seconds / self.seconds) if self.counted else None


class RankState(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What one rank knows that the others do not.

    Attributes:
        times: Of its updates; `clock` in files.
        corrupt: Training images that it could not decode.
    """

    times: StepTimes = msgspec.field(default_factory=StepTimes, name="clock")
    corrupt: tuple[int, ...] = ()


class TrainingState(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How far a run has come. Every rank keeps it up to date; it outlives a failure.

    Learning rate, weight decay, order of the examples and augmentation are functions of the plan
    and of the step, so there is no generator of random numbers to keep.

    Attributes:
        version: Of the form in which this is kept in a checkpoint.
        plan: What the run set out to do.
        step: Updates made.
        epochs: Results of the epochs that have been evaluated, the last one perhaps cut short by
            the plan.
        losses: Of the steps since then, mean over the ranks, in nats.
        epoch_seconds: Wall time of those steps together.
        training_seconds: Wall time since the training started.
        run_seconds: Wall time of the whole run, as of the last checkpoint.
        started: When the run began; UTC, ISO 8601.
        resumed_at: Steps at which the run was continued from a checkpoint.
        names: Of the variables of a checkpoint, in the order of its arrays.
        ranks: One for each rank. A rank knows those of the others as of the last checkpoint.
        evaluation: Of this very state; only in a snapshot.
    """

    version: Literal[1] = 1
    plan: RunPlan
    step: Count
    epochs: list[EpochResult] = []
    losses: list[float] = []
    epoch_seconds: NonNegativeFloat = 0.0
    training_seconds: NonNegativeFloat = 0.0
    run_seconds: NonNegativeFloat = 0.0
    started: str
    resumed_at: tuple[Count, ...] = ()
    names: tuple[str, ...] = ()
    ranks: Annotated[tuple[RankState, ...], Meta(min_length=1)]
    evaluation: EvaluationResult | None = None


def first_state(plan: RunPlan, started: str) -> TrainingState:
    """The state before the first update of a run.

    Args:
        plan: What the run sets out to do.
        started: When it begins; UTC, ISO 8601.
    """
    ranks = tuple(RankState() for _ in range(plan.ranks))
    return TrainingState(plan=plan, step=plan.first_step, started=started, ranks=ranks)
