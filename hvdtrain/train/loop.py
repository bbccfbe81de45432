"""The training loop: every rank runs the same steps, in the same order, to the same end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import tensorflow as tf

from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.record import EpochResult, EvaluationResult, Straggler
from hvdtrain.train.checkpoint.coordinator import CheckpointCoordinator
from hvdtrain.train.health.divergence import DivergedError, RankFault
from hvdtrain.train.progress import Reporter
from hvdtrain.train.state import Journey, Snapshot
from hvdtrain.train.step import StepResult, TrainStep

Batch = tuple[tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Hooks:
    """What the loop calls on the way.

    Attributes:
        evaluate: Evaluates the model on the whole validation set. Collective.
        log: Keeps a line of the metrics.
        reporter: Tells a person.
        coordinator: Writes checkpoints and stops the run where it is asked to. Collective.
        keep: Keeps a snapshot. Collective.
        gather_faults: The faults of all ranks, from what of this one is not finite. Collective.
        find_stragglers: Names the ranks for which the others waited, from this rank's mean
            seconds of an update before its reduction. Collective.
        look_at_threads: Called once, after the first update, when all threads exist. Collective.
    """

    evaluate: Callable[[], EvaluationResult]
    log: Callable[[MetricsLine], None]
    reporter: Reporter
    coordinator: CheckpointCoordinator
    keep: Callable[[Snapshot], None]
    gather_faults: Callable[[str | None], list[RankFault]]
    find_stragglers: Callable[[float | None], tuple[Straggler, ...]]
    look_at_threads: Callable[[], None]


class TrainingLoop:
    """Runs a plan from where the journey is to its last step, with an evaluation after every epoch.

    Args:
        plan: What to do.
        step: The compiled step of this rank.
        batches: This rank's batches, `plan.accumulate` for each step that is left.
        hooks: Evaluation, metrics and progress.
        journey: How far the run has come; kept up to date on the way.
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
        self._snapshots = {
            step: number for number, step in enumerate(self._schedule.snapshots, start=1)
        }
        self._step = step
        self._batches = batches
        self._hooks = hooks
        self._journey = journey
        self._started = time.perf_counter() - journey.seconds
        self._first_step = journey.step

    def run(self) -> None:
        """Train.

        Raises:
            DivergedError: The mean loss of a step or of an evaluation, a gradient, a weight, a slot
                or a moving statistic is NaN or infinite.
            Interrupted: A signal asked the run to stop.
        """
        total, per_epoch = self._plan.total_steps, self._plan.steps_per_epoch
        done = self._plan.first_epoch + len(self._journey.epochs)
        for first in range(done * per_epoch, total, per_epoch):
            epoch, end = first // per_epoch + 1, min(first + per_epoch, total)
            self._run_epoch(epoch, end)
            if end < total:
                self._journey.seconds = time.perf_counter() - self._started
                self._hooks.coordinator.epoch_ends(epoch)

    def _run_epoch(self, epoch: int, end: int) -> None:
        """What is left of an epoch: nothing but its evaluation, when the run was stopped there."""
        journey = self._journey
        begin = time.perf_counter() - journey.epoch_seconds
        for number in range(journey.step, end):
            self._hooks.coordinator.step_begins()
            journey.losses.append(self._run_step(epoch, number))
            journey.step = number + 1
            if number == self._first_step:
                self._hooks.look_at_threads()
            journey.epoch_seconds = time.perf_counter() - begin
            journey.seconds = time.perf_counter() - self._started
            if journey.step < end:
                # Before a checkpoint of this step, or a continued run would not come by again.
                begin += self._keep_midway(epoch)
            self._hooks.coordinator.step_ends()
        trained = time.perf_counter()
        stragglers = self._hooks.find_stragglers(journey.clock.take_compute_seconds())
        evaluating = time.perf_counter()
        evaluation = self._evaluate(epoch)
        evaluated = time.perf_counter()
        result = EpochResult(
            epoch=epoch,
            steps=len(journey.losses),
            seconds=trained - begin,
            training_loss=math.fsum(journey.losses) / len(journey.losses),
            learning_rate=self._schedule.learning_rate(end - 1),
            evaluation=evaluation,
            evaluation_seconds=evaluated - evaluating,
            stragglers=stragglers,
        )
        journey.epochs.append(result)
        journey.losses, journey.epoch_seconds = [], 0.0
        self._report_epoch(result, evaluation, end)
        if end in self._snapshots:
            self._hooks.keep(Snapshot(self._snapshots[end], evaluation))

    def _keep_midway(self, epoch: int) -> float:
        """Keep a snapshot that is due within an epoch; returns the seconds that it took."""
        number = self._snapshots.get(self._journey.step)
        if number is None:
            return 0.0
        begin = time.perf_counter()
        self._hooks.keep(Snapshot(number, self._evaluate(epoch)))
        return time.perf_counter() - begin

    def _evaluate(self, epoch: int) -> EvaluationResult:
        evaluation = self._hooks.evaluate()
        if not math.isfinite(evaluation.loss):
            where = f"step {self._journey.step} (epoch {epoch})"
            raise DivergedError(f"the evaluation loss at {where} is {evaluation.loss}")
        return evaluation

    def _run_step(self, epoch: int, number: int) -> float:
        """One update, counted from 0; returns its loss."""
        learning_rate = self._schedule.learning_rate(number)
        begin = time.perf_counter()
        for _ in range(self._plan.accumulate - 1):
            self._step.add(*next(self._batches))
        images, labels = next(self._batches)
        outcome = self._step(images, labels, learning_rate, self._schedule.weight_decay(number))
        loss, norm = float(outcome.loss), float(outcome.gradient_norm)
        end = time.perf_counter()
        clock = self._journey.clock
        clock.add(end - begin, float(outcome.exposed_seconds))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._raise_diverged(outcome, epoch, number + 1)
        self._hooks.log(
            MetricsLine(
                step=number + 1,
                epoch=epoch,
                seconds=end - self._started,
                learning_rate=learning_rate,
                loss=loss,
                step_seconds=clock.last_seconds,
                allreduce_seconds=clock.last_exposed_seconds,
                gradient_norm=norm,
            )
        )
        speed = self._plan.global_batch / clock.last_seconds
        self._hooks.reporter.step(number + 1, epoch, loss, speed)
        return loss

    def _raise_diverged(self, outcome: StepResult, epoch: int, step: int) -> NoReturn:
        """Collective: loss and gradient norm are the same on every rank, so all ranks are here."""
        where = outcome.not_finite.numpy().decode()
        mine = None if math.isfinite(float(outcome.rank_loss)) else where
        faults = self._hooks.gather_faults(mine)
        loss, norm = float(outcome.loss), float(outcome.gradient_norm)
        what = f"gradient norm at step {step} (epoch {epoch}) is {norm}"
        if not math.isfinite(loss):
            what = f"loss at step {step} (epoch {epoch}) is {loss}"
        raise DivergedError(f"the {what}", where, faults)

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
                stragglers=result.stragglers,
            )
        )
        self._hooks.reporter.say(
            f"epoch {result.epoch}: {result.seconds:.1f} s, "
            f"training loss {result.training_loss:.4f}, "
            f"top-1 {evaluation.top1:.2%}, top-5 {evaluation.top5:.2%}, "
            f"evaluation loss {evaluation.loss:.4f} on {evaluation.count} images"
        )
