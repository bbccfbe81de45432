"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from hvdtrain.runs.record import EpochResult, EvaluationResult
from hvdtrain.train.clock import StepClock


@dataclass(frozen=True)
class Snapshot:
    """A state that the recipe wants kept.

    Attributes:
        number: Among the snapshots of the run, from 1.
        evaluation: Of this very state.
    """

    number: int
    evaluation: EvaluationResult


@dataclass
class Journey:
    """How far a run has come. Kept outside the loop, so that it outlives a failure.

    Attributes:
        clock: Seconds of the updates.
        epochs: Results of the epochs, the last one perhaps cut short by the plan.
        step: Updates made.
        losses: Of the steps since the last epoch that was evaluated.
        epoch_seconds: Wall time of those steps.
        seconds: Wall time of training, as far as a checkpoint was written.
    """

    clock: StepClock = field(default_factory=StepClock)
    epochs: list[EpochResult] = field(default_factory=list)
    step: int = 0
    losses: list[float] = field(default_factory=list)
    epoch_seconds: float = 0.0
    seconds: float = 0.0
