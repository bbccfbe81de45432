"""The training loop: every rank runs the same steps, in the same order, to the same end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.plan.record import EpochResult, EvaluationResult
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.train.clock import StepClock
from hvdtrain.train.folder import MetricsLine
from hvdtrain.train.progress import Reporter
from hvdtrain.train.step import TrainStep

Batch = tuple[tf.Tensor, tf.Tensor]


class DivergedError(RunError):
    """The loss is no number any more. All ranks see it in the same step."""

    def __init__(self, what: str, step: int, epoch: int, loss: float) -> None:
        super().__init__(
            f"the {what} at step {step} (epoch {epoch}) is {loss}",
            "use a lower peak learning rate or a longer warm-up",
        )


@dataclass
class Journey:
    """How far a run has come. Kept outside the loop, so that it outlives a failure.

    Attributes:
        clock: Seconds of the updates.
        epochs: Results of the epochs, the last one perhaps cut short by the plan.
    """

    clock: StepClock = field(default_factory=StepClock)
    epochs: list[EpochResult] = field(default_factory=list)


@dataclass(frozen=True)
class Hooks:
    """What the loop calls on the way.

    Attributes:
        evaluate: Evaluates the model on the whole validation set. Collective.
        log: Keeps a line of the metrics.
        reporter: Tells a person.
    """

    evaluate: Callable[[], EvaluationResult]
    log: Callable[[MetricsLine], None]
    reporter: Reporter


class TrainingLoop:
    """Runs a plan from its first step to its last, with an evaluation after every epoch.

    Args:
        plan: What to do.
        step: The compiled step of this rank.
        batches: This rank's batches of the whole run, `plan.accumulate` for each step.
        hooks: Evaluation, metrics and progress.
        journey: Filled on the way.
    """

    def __init__(
        self,
        plan: RunPlan,
        step: TrainStep,
        batches: Iterator[Batch],
        hooks: Hooks,
        journey: Journey,
    ) -> None:
        self._plan = plan
        self._schedule = plan.schedule
        self._step = step
        self._batches = batches
        self._hooks = hooks
        self._journey = journey
        self._started = time.perf_counter()

    def run(self) -> None:
        """Train.

        Raises:
            DivergedError: The mean loss of a step, or of an evaluation, is NaN or infinite.
        """
        total, per_epoch = self._plan.total_steps, self._plan.steps_per_epoch
        for first in range(0, total, per_epoch):
            self._run_epoch(first // per_epoch + 1, range(first, min(first + per_epoch, total)))

    def _run_epoch(self, epoch: int, steps: range) -> None:
        begin = time.perf_counter()
        losses = [self._run_step(epoch, number) for number in steps]
        trained = time.perf_counter()
        evaluation = self._hooks.evaluate()
        evaluated = time.perf_counter()
        if not math.isfinite(evaluation.loss):
            raise DivergedError("evaluation loss", steps.stop, epoch, evaluation.loss)
        result = EpochResult(
            epoch=epoch,
            steps=len(steps),
            seconds=trained - begin,
            training_loss=math.fsum(losses) / len(losses),
            learning_rate=self._schedule.learning_rate(steps[-1]),
            evaluation=evaluation,
            evaluation_seconds=evaluated - trained,
        )
        self._journey.epochs.append(result)
        self._report_epoch(result, evaluation, steps.stop)

    def _run_step(self, epoch: int, number: int) -> float:
        """One update, counted from 0; returns its loss."""
        learning_rate = self._schedule.learning_rate(number)
        begin = time.perf_counter()
        for _ in range(self._plan.accumulate - 1):
            self._step.add(*next(self._batches))
        images, labels = next(self._batches)
        outcome = self._step(images, labels, learning_rate, self._schedule.weight_decay(number))
        loss = float(outcome.loss)
        end = time.perf_counter()
        clock = self._journey.clock
        clock.add(end - begin, float(outcome.exposed_seconds))
        if not math.isfinite(loss):
            raise DivergedError("loss", number + 1, epoch, loss)
        self._hooks.log(
            MetricsLine(
                step=number + 1,
                epoch=epoch,
                seconds=end - self._started,
                learning_rate=learning_rate,
                loss=loss,
                step_seconds=clock.last_seconds,
                allreduce_seconds=clock.last_exposed_seconds,
            )
        )
        speed = self._plan.global_batch / clock.last_seconds
        self._hooks.reporter.step(number + 1, epoch, loss, speed)
        return loss

    def _report_epoch(
        self, result: EpochResult, evaluation: EvaluationResult, steps_done: int
    ) -> None:
        self._hooks.log(
            MetricsLine(
                step=steps_done,
                epoch=result.epoch,
                seconds=time.perf_counter() - self._started,
                learning_rate=result.learning_rate,
                top1=evaluation.top1,
                top5=evaluation.top5,
                evaluation_loss=evaluation.loss,
                count=evaluation.count,
            )
        )
        self._hooks.reporter.say(
            f"epoch {result.epoch}: {result.seconds:.1f} s, "
            f"training loss {result.training_loss:.4f}, "
            f"top-1 {evaluation.top1:.2%}, top-5 {evaluation.top5:.2%}, "
            f"evaluation loss {evaluation.loss:.4f} on {evaluation.count} images"
        )
