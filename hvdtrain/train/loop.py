"""The training loop: every rank runs the same steps, in the same order, to the same end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NoReturn

from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.record import EpochResult
from hvdtrain.train.health.divergence import DivergedError
from hvdtrain.train.health.watchdog import FIRST_FACTOR
from hvdtrain.train.step import StepResult

if TYPE_CHECKING:
    from hvdtrain.train.run import Run

WARM_UP_STEPS = 2
"""Updates of each start that do not count: the first compiles the step, the second fills the
caches."""


class TrainingLoop:
    """Runs a plan from where its state is to its last step, evaluating as often as that says.

    A step lasts from its start to the start of the next, so that the steps of an epoch add up to
    its seconds, whatever a rank does between two updates. Evaluations, snapshots, and checkpoints
    between two epochs are no part of a step.

    Args:
        run: What is trained, and where it is kept. Its state is kept up to date on the way.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._plan = run.plan
        self._state = run.state
        self._schedule = run.plan.schedule
        self._snapshots = {
            step: number for number, step in enumerate(self._schedule.snapshots, start=1)
        }
        self._first_step = run.state.step
        self._training_started = time.perf_counter() - run.state.training_seconds
        self._step_started = 0.0
        # Of this rank, in this epoch: of each update, without its wait for the reduction.
        self._compute_seconds: list[float] = []

    def run(self) -> None:
        """Train.

        Raises:
            DivergedError: The mean loss of a step, a gradient, a weight, a slot or a moving
                statistic is NaN or infinite.
            Interrupted: A signal asked the run to stop.
        """
        total = self._plan.total_steps
        epoch = self._plan.first_epoch + len(self._state.epochs)
        while self._plan.epoch_end(epoch) < total:
            epoch += 1
            end = min(self._plan.epoch_end(epoch), total)
            self._run_epoch(epoch, end)
            self._end_epoch(epoch, end)
            if end < total:
                self._state.training_seconds = time.perf_counter() - self._training_started
                self._run.coordinator.epoch_ends(epoch)

    def _run_epoch(self, epoch: int, end: int) -> None:
        """The updates that an epoch still lacks: none when the run was stopped at its end."""
        self._step_started = time.perf_counter()
        while self._state.step < end:
            self._run.coordinator.step_begins()
            self._run_step(epoch)
            if self._state.step == self._first_step + 1:
                self._run.check_threads()
            if self._state.step < end:
                # Before a checkpoint of this step, or a continued run would not come by again.
                self._keep_midway()
            self._run.watchdog.watch(f"the end of step {self._state.step}")
            self._run.coordinator.step_ends()

    def _run_step(self, epoch: int) -> None:
        """The next update."""
        number, run = self._state.step, self._run
        learning_rate = self._schedule.learning_rate(number)
        factor = FIRST_FACTOR if number == self._first_step else 1.0
        run.watchdog.watch(f"the images of step {number + 1}", factor, alone=True)
        for _ in range(self._plan.accumulate - 1):
            run.trainer.step.add(*next(run.batches))
        images, labels = next(run.batches)
        decay = self._schedule.weight_decay(number)
        run.watchdog.watch(f"the update of step {number + 1}", factor)
        result = run.trainer.step.update(images, labels, learning_rate, decay)
        loss, norm = float(result.loss), float(result.gradient_norm)
        exposed = float(result.exposed_seconds)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._end_step(exposed)
            self._raise_diverged(result, epoch, number + 1)
        speed = self._plan.global_batch / (time.perf_counter() - self._step_started)
        run.reporter.step(number + 1, epoch, loss, speed)
        seconds = self._end_step(exposed)
        self._state.step = number + 1
        self._state.losses.append(loss)
        run.log_metrics(
            MetricsLine(
                step=number + 1,
                epoch=epoch,
                seconds=self._state.training_seconds,
                learning_rate=learning_rate,
                loss=loss,
                step_seconds=seconds,
                allreduce_seconds=exposed,
                gradient_norm=norm,
            )
        )

    def _end_step(self, exposed_seconds: float) -> float:
        """Let a step end and the next one start, now; returns the seconds of the one that ends."""
        now = time.perf_counter()
        seconds, self._step_started = now - self._step_started, now
        counts = self._state.step >= self._first_step + WARM_UP_STEPS
        self._run.times.add(seconds, exposed_seconds, counts=counts)
        if counts:
            self._compute_seconds.append(seconds - exposed_seconds)
        self._state.epoch_seconds += seconds
        self._state.training_seconds = now - self._training_started
        return seconds

    def _raise_diverged(self, result: StepResult, epoch: int, step: int) -> NoReturn:
        """Collective: loss and gradient norm are the same on every rank, so all ranks are here."""
        where = result.not_finite.numpy().decode()
        mine = None if math.isfinite(float(result.rank_loss)) else where
        faults = self._run.gather_faults(mine)
        loss, norm = float(result.loss), float(result.gradient_norm)
        what = f"gradient norm at step {step} (epoch {epoch}) is {norm}"
        if not math.isfinite(loss):
            what = f"loss at step {step} (epoch {epoch}) is {loss}"
        raise DivergedError(f"the {what}", where, faults)

    def _keep_midway(self) -> None:
        """Keep a snapshot that is due within an epoch; its seconds are those of no step."""
        number = self._snapshots.get(self._state.step)
        if number is not None:
            begin = time.perf_counter()
            self._run.keep_snapshot(number, self._run.evaluate())
            self._step_started += time.perf_counter() - begin

    def _end_epoch(self, epoch: int, end: int) -> None:
        """Evaluate, report, and keep the snapshot that is due at the end of an epoch."""
        state = self._state
        compute, self._compute_seconds = self._compute_seconds, []
        stragglers = self._run.find_stragglers(
            math.fsum(compute) / len(compute) if compute else None
        )
        begin = time.perf_counter()
        evaluation = self._run.evaluate() if self._plan.is_evaluated(epoch) else None
        result = EpochResult(
            epoch=epoch,
            steps=len(state.losses),
            seconds=state.epoch_seconds,
            training_loss=math.fsum(state.losses) / len(state.losses),
            learning_rate=self._schedule.learning_rate(end - 1),
            evaluation=evaluation,
            evaluation_seconds=time.perf_counter() - begin if evaluation else 0.0,
            stragglers=stragglers,
        )
        state.epochs.append(result)
        state.losses, state.epoch_seconds = [], 0.0
        self._report_epoch(result)
        if end in self._snapshots and evaluation is not None:
            self._run.keep_snapshot(self._snapshots[end], evaluation)

    def _report_epoch(self, result: EpochResult) -> None:
        evaluation = result.evaluation
        trained = (
            f"epoch {result.epoch}: {result.seconds:.1f} s, "
            f"training loss {result.training_loss:.4f}"
        )
        if evaluation is None:
            self._run.reporter.say(trained)
            return
        self._run.log_metrics(
            MetricsLine(
                step=self._state.step,
                epoch=result.epoch,
                seconds=time.perf_counter() - self._training_started,
                learning_rate=result.learning_rate,
                top1=evaluation.top1,
                top5=evaluation.top5,
                evaluation_loss=evaluation.loss,
                count=evaluation.count,
                stragglers=result.stragglers,
            )
        )
        # The weights are finite: one image may have logits that are not, and the run goes on.
        loss = "that is not finite" if evaluation.loss is None else f"{evaluation.loss:.4f}"
        self._run.reporter.say(
            f"{trained}, top-1 {evaluation.top1:.2%}, top-5 {evaluation.top5:.2%}, "
            f"evaluation loss {loss} on {evaluation.count} images"
        )
