"""Every rank must make the same number of steps, or the others hang."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from hvdtrain.plan.method.collapse import make_collapse_plan
from hvdtrain.plan.method.dataset import DatasetInfo
from hvdtrain.plan.method.phase import Phase
from hvdtrain.plan.method.recipe import Recipe, load_recipe
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.record import Straggler
from hvdtrain.train.checkpoint.coordinator import CheckpointCoordinator
from hvdtrain.train.checkpoint.interrupt import Interrupted, SignalNote, StopFile
from hvdtrain.train.checkpoint.writer import CheckpointWriter
from hvdtrain.train.health.divergence import DivergedError, RankFault
from hvdtrain.train.progress import Lines, Reporter, Silence
from hvdtrain.train.state import StepTimes, TrainingState, first_state
from tests.samples import sample_plan, silent_watchdog

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

    def __init__(self, losses: Any = None, evaluation_loss: float | None = 1.5) -> None:
        self.rates: list[tuple[float, float]] = []
        self.order: list[str] = []
        self.lines: list[Any] = []
        self.saved: list[tuple[int, int]] = []
        self.compute_seconds: list[float | None] = []
        self.looked: list[int] = []
        self.kept: list[tuple[int, int, int]] = []
        self.evaluated: list[int] = []
        self.note = SignalNote()
        self.watchdog = silent_watchdog()
        self.rank_loss: float | None = None
        self.gradient_norm = 0.25
        self.not_finite = ""
        self.snapshot_seconds = 0.0
        self.exposed_seconds = 0.0
        self.reporter: Reporter = Silence()
        self._losses = itertools.repeat(2.0) if losses is None else iter(losses)
        self._evaluation_loss = evaluation_loss

    def step(self, images: object, labels: object, rate: float, decay: float) -> SimpleNamespace:
        assert (images, labels) == ("images", "labels")
        self.order.append("update")
        self.rates.append((rate, decay))
        loss = next(self._losses)
        return SimpleNamespace(
            loss=loss,
            rank_loss=self.rank_loss or loss,
            exposed_seconds=self.exposed_seconds,
            gradient_norm=self.gradient_norm,
            not_finite=SimpleNamespace(numpy=self.not_finite.encode),
        )

    def add(self, images: object, labels: object) -> None:
        assert (images, labels) == ("images", "labels")
        self.order.append("add")

    def evaluate(self) -> EvaluationResult:
        self.evaluated.append(self.state.step)
        return EvaluationResult(count=16, top1=0.5, top5=1.0, loss=self._evaluation_loss)

    def gather_faults(self, where: str | None) -> list[RankFault]:
        """Of three ranks, of which this is the second and the others are well."""
        return [] if where is None else [RankFault(1, "n2", where)]

    def find_stragglers(self, compute_seconds: float | None) -> tuple[Straggler, ...]:
        self.compute_seconds.append(compute_seconds)
        return (Straggler(rank=1, host="n2", seconds=2.0, ratio=1.5),)

    def save(self) -> None:
        self.order.append("checkpoint")
        self.saved.append((self.state.step, len(self.state.epochs)))

    def keep_snapshot(self, number: int, evaluation: EvaluationResult) -> None:
        assert evaluation.loss == self._evaluation_loss
        time.sleep(self.snapshot_seconds)
        self.order.append(f"snapshot {number}")
        self.kept.append((number, self.state.step, len(self.state.epochs)))

    def log_metrics(self, line: MetricsLine) -> None:
        self.lines.append(line)

    def check_threads(self) -> None:
        self.looked.append(self.state.step)

    @property
    def times(self) -> StepTimes:
        return self.state.ranks[1].times

    def run(self, state: TrainingState | None = None, every: int = 1, **changes: Any) -> Any:
        """Stand in for a `Run` on the second of two ranks."""
        from hvdtrain.train.loop import TrainingLoop
        from hvdtrain.train.step import TrainStep

        origin = changes.pop("origin", None)
        self.plan = msgspec.structs.replace(sample_plan(**changes), origin=origin)
        self.state = state or first_state(self.plan, "now")
        self.trainer = SimpleNamespace(step=TrainStep(add=self.add, update=cast(Any, self.step)))
        self.batches: Any = itertools.repeat(("images", "labels"))
        self.coordinator = CheckpointCoordinator(
            cast(Any, AloneAgreement()),
            self.note,
            StopFile(Path("nowhere")),
            CheckpointWriter(),
            self.save,
            seconds=3600.0,
            epochs=every,
        )
        TrainingLoop(cast(Any, self)).run()
        return self.state


class SlowReporter(Silence):
    """Takes its time after each update, as a terminal on the other side of a network does."""

    def step(self, step: int, epoch: int, loss: float, images_per_second: float) -> None:
        time.sleep(0.01)


def test_every_step_gets_its_own_rate_and_decay() -> None:
    watcher = Watcher()
    state = watcher.run(epochs=3)
    schedule = watcher.plan.schedule
    assert len(watcher.rates) == 30
    assert watcher.rates == [
        (schedule.learning_rate(step), schedule.weight_decay(step)) for step in range(30)
    ]
    assert [(epoch.epoch, epoch.steps) for epoch in state.epochs] == [(1, 10), (2, 10), (3, 10)]
    assert state.epochs[-1].learning_rate == schedule.learning_rate(29)


def test_a_step_draws_all_its_batches_and_counts_once() -> None:
    watcher = Watcher()
    state = watcher.run(epochs=2, accumulate=5)
    assert watcher.plan.steps_per_epoch == state.epochs[0].steps == 2
    updates = [what for what in watcher.order if what != "checkpoint"]
    assert updates == ["add", "add", "add", "add", "update"] * 4


def test_a_run_cut_in_mid_epoch_ends_there_with_an_evaluation() -> None:
    watcher = Watcher()
    state = watcher.run(epochs=3, stop_after_steps=14)
    assert [epoch.steps for epoch in state.epochs] == [10, 4]
    assert watcher.times.steps == 14
    assert [line.step for line in watcher.lines if line.top1 is not None] == [10, 14]


def test_the_steps_of_an_epoch_add_up_to_its_seconds() -> None:
    """Whatever a rank does between two updates; snapshots and evaluations are no part of one."""
    watcher = Watcher()
    watcher.reporter, watcher.snapshot_seconds = SlowReporter(), 0.5
    begin = time.perf_counter()
    state = watcher.run(recipe=cycles(4, 16))
    whole = time.perf_counter() - begin
    steps = [line for line in watcher.lines if line.step_seconds is not None]
    for epoch in state.epochs:
        seconds = [line.step_seconds for line in steps if line.epoch == epoch.epoch]
        assert math.fsum(seconds) == pytest.approx(epoch.seconds)
        assert 0.01 <= min(seconds) <= max(seconds) < 0.2
    assert whole - 0.2 < 1.0 + sum(epoch.seconds for epoch in state.epochs) < whole
    counted = [line.step_seconds for line in steps[2:]]
    assert watcher.times.mean_seconds == pytest.approx(math.fsum(counted) / len(counted))
    assert [line.seconds for line in steps] == sorted(line.seconds for line in steps)


def test_what_a_rank_does_beside_training_is_its_own_time() -> None:
    watcher = Watcher()
    watcher.reporter, watcher.exposed_seconds = SlowReporter(), 0.004
    state = watcher.run(epochs=2)
    for seconds, epoch in zip(watcher.compute_seconds, state.epochs, strict=True):
        assert seconds is not None
        assert 0.006 <= seconds == pytest.approx(epoch.seconds / 10 - 0.004, abs=0.003)


def test_the_first_steps_of_each_start_do_not_count() -> None:
    watcher = Watcher(losses=[2.0] * 13)
    with pytest.raises(StopIteration):
        watcher.run(epochs=3)
    assert (watcher.times.steps, watcher.times.counted) == (13, 11)
    rest = Watcher()
    rest.run(watcher.state, epochs=3)
    assert (rest.times.steps, rest.times.counted) == (30, 26)


def test_the_training_loss_is_the_mean_of_the_steps() -> None:
    state = Watcher(losses=(float(n) for n in range(1, 21))).run(epochs=2)
    assert [epoch.training_loss for epoch in state.epochs] == [5.5, 15.5]


def test_the_stragglers_of_an_epoch_are_kept() -> None:
    watcher = Watcher()
    state = watcher.run(epochs=2)
    named = [[straggler.rank for straggler in epoch.stragglers] for epoch in state.epochs]
    assert named == [[1], [1]]
    assert [len(line.stragglers) for line in watcher.lines if line.count is not None] == [1, 1]
    assert not any(line.stragglers for line in watcher.lines if line.count is None)
    assert None not in watcher.compute_seconds


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_at_once(bad: float) -> None:
    watcher = Watcher(losses=[2.0, 2.0, bad, 2.0])
    watcher.not_finite = "stem/kernel"
    told = r"the loss at step 3 \(epoch 1\) is .*rank 1 on n2: NaN or infinity in stem/kernel\n"
    with pytest.raises(DivergedError, match=told):
        watcher.run(epochs=2)
    assert [line.step for line in watcher.lines] == [1, 2]


def test_a_mean_that_no_rank_spoilt_alone_blames_none() -> None:
    """Losses of 3e38 add up to infinity."""
    watcher = Watcher(losses=[float("inf")])
    watcher.rank_loss = 3e38
    with pytest.raises(DivergedError) as caught:
        watcher.run(epochs=2)
    assert "rank" not in caught.value.message


def test_many_diverged_ranks_are_not_all_named() -> None:
    faults = [RankFault(rank, f"n{rank // 48}", "the loss") for rank in range(1536)]
    error = DivergedError("the loss at step 3 (epoch 1) is nan", faults=faults)
    assert error.message == (
        "the loss at step 3 (epoch 1) is nan; it is that of ranks 0, 1, 2, 3, 4, 5, 6, 7 and 1528 "
        "more on n0 and 31 more nodes: NaN or infinity in the loss"
    )


def test_a_gradient_norm_that_is_no_number_ends_the_run_at_once() -> None:
    """A finite loss, and means of finite gradients that are beyond float32."""
    watcher = Watcher()
    watcher.gradient_norm = float("inf")
    watcher.not_finite = "the mean gradient of logits/kernel"
    with pytest.raises(DivergedError) as caught:
        watcher.run(epochs=2)
    assert caught.value.message == (
        "the gradient norm at step 1 (epoch 1) is inf: "
        "NaN or infinity in the mean gradient of logits/kernel"
    )
    assert watcher.lines == []


def test_the_gradient_norm_is_in_the_line_of_every_step() -> None:
    watcher = Watcher()
    watcher.run(epochs=2)
    norms = [(line.loss, line.gradient_norm) for line in watcher.lines]
    assert norms == ([(2.0, 0.25)] * 10 + [(None, None)]) * 2


def cycles(*lengths: int) -> Recipe:
    """Snapshots after each of these many steps."""
    phases = tuple(
        Phase(name="p", steps=steps, start=0.5, end=0.5, weight_decay=0.0, snapshot=True)
        for steps in lengths
    )
    return msgspec.structs.replace(load_recipe("linear-90"), total_epochs=None, phase=phases)


def test_a_snapshot_is_kept_after_its_step_and_its_evaluation() -> None:
    watcher = Watcher()
    watcher.run(recipe=cycles(10, 4, 16))
    # At the ends of the epochs 1 and 3, when they have been evaluated, and within the second.
    assert watcher.kept == [(1, 10, 1), (2, 14, 1), (3, 30, 3)]
    assert watcher.evaluated == [10, 14, 20, 30]
    assert [line.step for line in watcher.lines if line.top1 is not None] == [10, 20, 30]


def test_a_run_that_ends_before_a_snapshot_has_none() -> None:
    watcher = Watcher()
    watcher.run(recipe=cycles(10, 4, 16), stop_after_steps=13)
    assert watcher.kept == [(1, 10, 1)]


def test_a_snapshot_is_there_before_a_checkpoint_that_is_beyond_it() -> None:
    """A run that goes on from such a checkpoint does not come by again."""

    def losses() -> Iterator[float]:
        yield from [2.0] * 12
        watcher.note.number = 15  # heard in the next step, the 14th
        yield from [2.0] * 17

    watcher = Watcher(losses())
    with pytest.raises(Interrupted):
        watcher.run(recipe=cycles(10, 4, 16))
    assert watcher.saved == [(10, 1), (14, 1)]
    assert watcher.kept == [(1, 10, 1), (2, 14, 1)]
    assert [what for what in watcher.order if what != "update"] == [
        *("snapshot 1", "checkpoint", "snapshot 2", "checkpoint")
    ]


def test_a_collapse_counts_on_from_its_snapshot() -> None:
    watcher = Watcher()
    parent = sample_plan(recipe=cycles(14, 16))
    evaluation = EvaluationResult(count=16, top1=0.5, top5=1.0, loss=1.0)
    origin = SnapshotOrigin(run_id="run", snapshot=1, step=14, evaluation=evaluation)
    collapse = make_collapse_plan(parent, origin, epochs=1.5)
    state = watcher.run(recipe=collapse.recipe, origin=origin)
    assert len(watcher.rates) == 15
    assert [(epoch.epoch, epoch.steps) for epoch in state.epochs] == [(2, 6), (3, 9)]
    assert [line.step for line in watcher.lines if line.top1 is None] == [*range(15, 30)]
    assert watcher.rates[0][1] == 1e-4
    assert watcher.kept == []


def test_an_evaluation_that_is_no_number_is_said_and_the_run_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watcher = Watcher(evaluation_loss=None)
    watcher.reporter = Lines(total_steps=20)
    state = watcher.run(epochs=2)
    assert [epoch.evaluation.loss for epoch in state.epochs] == [None, None]
    lines = [line for line in watcher.lines if line.count is not None]
    assert [json.loads(msgspec.json.encode(line))["evaluation_loss"] for line in lines] == [
        None
    ] * 2
    assert capsys.readouterr().err.count("evaluation loss that is not finite on 16 images") == 2


def test_evaluations_are_as_rare_as_planned_and_never_missing_at_a_snapshot_or_the_end() -> None:
    watcher = Watcher()
    state = watcher.run(recipe=cycles(10, 4, 56), evaluate_epochs=3)
    assert [epoch.epoch for epoch in state.epochs if epoch.evaluation is not None] == [1, 3, 6, 7]
    assert watcher.evaluated == [10, 14, 30, 60, 70]
    assert [step for _, step, _ in watcher.kept] == [10, 14, 70]
    rare = Watcher()
    state = rare.run(epochs=7, evaluate_epochs=3)
    assert rare.evaluated == [30, 60, 70]
    assert [bool(epoch.evaluation) for epoch in state.epochs] == [
        *(False, False, True, False, False, True, True)
    ]
    assert [epoch.evaluation_seconds > 0 for epoch in state.epochs] == [
        *(False, False, True, False, False, True, True)
    ]
    assert [line.epoch for line in rare.lines if line.count is not None] == [3, 6, 7]


def test_epochs_end_where_their_images_do() -> None:
    # 20 images in batches of 8: 2.5 updates an epoch.
    watcher = Watcher()
    dataset = DatasetInfo(train_images=20, validation_images=16, classes=10)
    state = watcher.run(dataset=dataset, epochs=4)
    assert [(epoch.epoch, epoch.steps) for epoch in state.epochs] == [
        (1, 3),
        (2, 2),
        (3, 3),
        (4, 2),
    ]
    assert watcher.evaluated == [3, 5, 8, 10]
    assert [line.epoch for line in watcher.lines if line.count is None] == [
        *(1, 1, 1, 2, 2, 3, 3, 3, 4, 4)
    ]


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
    rest.run(first.state, epochs=3)
    assert first.rates[:13] + rest.rates == whole.rates
    assert [(e.steps, e.training_loss) for e in rest.state.epochs] == [
        (e.steps, e.training_loss) for e in whole.state.epochs
    ]
    assert (whole.looked, rest.looked) == ([1], [14])
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
    rest.run(first.state, epochs=2)
    assert first.rates + rest.rates == whole.rates
    assert [epoch.steps for epoch in rest.state.epochs] == [10, 10]
