"""Every rank must make the same number of steps, or the others hang."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hvdtrain.plan.record import EvaluationResult
from tests.samples import sample_plan

pytestmark = pytest.mark.tf


class Watcher:
    """Keeps what the loop did."""

    def __init__(self, losses: Any = None, evaluation_loss: float = 1.5) -> None:
        self.rates: list[tuple[float, float]] = []
        self.order: list[str] = []
        self.lines: list[Any] = []
        self.said: list[str] = []
        self._losses = itertools.repeat(2.0) if losses is None else iter(losses)
        self._evaluation_loss = evaluation_loss

    def step(self, images: object, labels: object, rate: float, decay: float) -> SimpleNamespace:
        assert (images, labels) == ("images", "labels")
        self.order.append("update")
        self.rates.append((rate, decay))
        return SimpleNamespace(loss=next(self._losses), exposed_seconds=0.0)

    def add(self, images: object, labels: object) -> None:
        assert (images, labels) == ("images", "labels")
        self.order.append("add")

    def evaluate(self) -> EvaluationResult:
        return EvaluationResult(count=16, top1=0.5, top5=1.0, loss=self._evaluation_loss)

    def run(self, **changes: Any) -> Any:
        from hvdtrain.train.loop import Hooks, Journey, TrainingLoop
        from hvdtrain.train.progress import Silence
        from hvdtrain.train.step import TrainStep

        plan = sample_plan(**changes)
        journey = Journey()
        reporter = Silence()
        hooks = Hooks(self.evaluate, self.lines.append, reporter)
        self.plan, self.journey = plan, journey
        batches: Any = itertools.repeat(("images", "labels"))
        step = TrainStep(add=self.add, update=cast(Any, self.step))
        TrainingLoop(plan, step, batches, hooks, journey).run()
        return journey


def test_every_step_gets_its_own_rate_and_decay() -> None:
    watcher = Watcher()
    journey = watcher.run(epochs=3)
    schedule = watcher.plan.schedule
    assert len(watcher.rates) == 30
    assert watcher.rates == [
        (schedule.learning_rate(step), schedule.weight_decay(step)) for step in range(30)
    ]
    assert [(epoch.epoch, epoch.steps) for epoch in journey.epochs] == [(1, 10), (2, 10), (3, 10)]
    assert journey.epochs[-1].learning_rate == schedule.learning_rate(29)


def test_a_step_draws_all_its_batches_and_counts_once() -> None:
    watcher = Watcher()
    journey = watcher.run(epochs=2, accumulate=5)
    assert watcher.plan.steps_per_epoch == journey.epochs[0].steps == 2
    assert watcher.order == ["add", "add", "add", "add", "update"] * 4


def test_a_run_cut_in_mid_epoch_ends_there_with_an_evaluation() -> None:
    watcher = Watcher()
    journey = watcher.run(epochs=3, stop_after_steps=14)
    assert [epoch.steps for epoch in journey.epochs] == [10, 4]
    assert journey.clock.steps == 14
    assert [line.step for line in watcher.lines if line.top1 is not None] == [10, 14]


def test_the_training_loss_is_the_mean_of_the_steps() -> None:
    journey = Watcher(losses=(float(n) for n in range(1, 21))).run(epochs=2)
    assert [epoch.training_loss for epoch in journey.epochs] == [5.5, 15.5]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_at_once(bad: float) -> None:
    from hvdtrain.train.loop import DivergedError

    watcher = Watcher(losses=[2.0, 2.0, bad, 2.0])
    with pytest.raises(DivergedError, match=r"the loss at step 3 \(epoch 1\) is"):
        watcher.run(epochs=2)
    assert [line.step for line in watcher.lines] == [1, 2]


def test_an_evaluation_that_is_no_number_ends_the_run() -> None:
    from hvdtrain.train.loop import DivergedError

    watcher = Watcher(evaluation_loss=float("nan"))
    with pytest.raises(DivergedError, match="evaluation loss at step 10"):
        watcher.run(epochs=2)
    assert watcher.journey.epochs == []
