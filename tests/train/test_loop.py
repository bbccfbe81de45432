"""Every rank must make the same number of steps, or the others hang."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hvdtrain.plan.record import EvaluationResult
from hvdtrain.train.interrupt import Interrupted, SignalNote
from hvdtrain.train.keeper import CheckpointInterval, Keeper
from hvdtrain.train.writer import CheckpointWriter
from tests.samples import sample_plan

pytestmark = pytest.mark.tf


class AloneAgreement:
    """One rank that hears itself."""

    def __init__(self) -> None:
        self._number = 0

    def propose(self, number: int) -> None:
        self._number = number

    def result(self) -> int:
        return self._number


class Watcher:
    """Keeps what the loop did."""

    def __init__(self, losses: Any = None, evaluation_loss: float = 1.5) -> None:
        self.rates: list[tuple[float, float]] = []
        self.order: list[str] = []
        self.lines: list[Any] = []
        self.said: list[str] = []
        self.saved: list[tuple[int, int]] = []
        self.note = SignalNote()
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

    def save(self) -> None:
        self.saved.append((self.journey.step, len(self.journey.epochs)))

    def run(self, journey: Any = None, every: int = 1, **changes: Any) -> Any:
        from hvdtrain.train.loop import Hooks, Journey, TrainingLoop
        from hvdtrain.train.progress import Silence
        from hvdtrain.train.step import TrainStep

        plan = sample_plan(**changes)
        journey = journey or Journey()
        reporter = Silence()
        agreement = AloneAgreement()
        interval = CheckpointInterval(3600.0, every)
        keeper = Keeper(interval, agreement, self.note, self.save, CheckpointWriter(), True)
        hooks = Hooks(self.evaluate, self.lines.append, reporter, keeper)
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


def test_a_checkpoint_follows_every_epoch_but_the_last() -> None:
    watcher = Watcher()
    watcher.run(epochs=5)
    assert watcher.saved == [(10, 1), (20, 2), (30, 3), (40, 4)]
    watcher = Watcher()
    watcher.run(epochs=5, every=2)
    assert watcher.saved == [(20, 2), (40, 4)]


def test_a_run_goes_on_in_mid_epoch_as_if_it_had_never_stopped() -> None:
    whole = Watcher(losses=(float(n) for n in range(30)))
    whole.run(epochs=3)
    first = Watcher(losses=(float(n) for n in range(13)))
    with pytest.raises(StopIteration):
        first.run(epochs=3)
    rest = Watcher(losses=(float(n) for n in range(13, 30)))
    rest.run(first.journey, epochs=3)
    assert first.rates[:13] + rest.rates == whole.rates
    assert [(e.steps, e.training_loss) for e in rest.journey.epochs] == [
        (e.steps, e.training_loss) for e in whole.journey.epochs
    ]
    assert [line.step for line in rest.lines] == [*range(14, 21), 20, *range(21, 31), 30]


def test_a_signal_ends_the_step_and_leaves_a_checkpoint() -> None:
    watcher = Watcher()
    watcher.note.number = 15
    with pytest.raises(Interrupted, match="SIGTERM"):
        watcher.run(epochs=3)
    assert watcher.saved == [(1, 0)]


def test_a_run_that_was_stopped_before_an_evaluation_makes_it() -> None:
    whole, first = Watcher(), Watcher(losses=[2.0] * 10)
    whole.run(epochs=2)
    first.evaluate = lambda: 1 / 0  # type: ignore[method-assign,return-value,assignment]
    with pytest.raises(ZeroDivisionError):
        first.run(epochs=2)
    rest = Watcher()
    rest.run(first.journey, epochs=2)
    assert first.rates + rest.rates == whole.rates
    assert [epoch.steps for epoch in rest.journey.epochs] == [10, 10]
