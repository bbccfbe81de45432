"""All ranks save and stop after the same step, whoever wanted it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hvdtrain.errors import RunError
from hvdtrain.train.checkpoint.coordinator import (
    GO_ON,
    SAVE,
    STOP,
    CheckpointCoordinator,
)
from hvdtrain.train.checkpoint.interrupt import (
    SIGNALS,
    Interrupted,
    SignalNote,
    StopFile,
    signals_noted,
)
from hvdtrain.train.checkpoint.writer import CheckpointWriter


class OtherRanks:
    """Keeps this rank's vote and answers with the largest of all."""

    def __init__(self, vote: int = GO_ON) -> None:
        self.others, self.own = vote, GO_ON

    def propose(self, number: int) -> None:
        self.own = number

    def result(self) -> int:
        return max(self.own, self.others)


class Run:
    """A coordinator and what it saved."""

    def __init__(self, others: int = GO_ON, seconds: float = 3600.0, first: bool = True) -> None:
        self.saved = 0
        self.stop = False
        self.write: Callable[[], None] | None = None
        self.note = SignalNote()
        self.ranks = OtherRanks(others)
        self.writer = CheckpointWriter()
        self.coordinator = CheckpointCoordinator(
            cast(Any, self.ranks),
            self.note,
            cast(Any, self) if first else None,
            self.writer,
            self.save,
            seconds=seconds,
            epochs=2,
        )

    def is_there(self) -> bool:
        """As the stop file would say it."""
        return self.stop

    def save(self) -> None:
        self.saved += 1
        if self.write is not None:
            self.writer.start(self.write)

    def step(self) -> None:
        self.coordinator.step_begins()
        self.coordinator.step_ends()


def test_nothing_is_saved_before_its_time() -> None:
    run = Run()
    run.step()
    assert run.saved == 0


def test_time_is_kept_by_one_rank_and_obeyed_by_all() -> None:
    first, other = Run(seconds=1e-9), Run(seconds=1e-9, first=False)
    for run in (first, other):
        run.step()
    assert (first.ranks.own, other.ranks.own) == (SAVE, GO_ON)
    assert (first.saved, other.saved) == (1, 0)
    told = Run(others=SAVE, first=False)
    told.step()
    assert told.saved == 1


def test_a_rank_without_a_signal_stops_with_the_others() -> None:
    run = Run(others=STOP + signal.SIGUSR1)
    with pytest.raises(Interrupted, match="SIGUSR1"):
        run.step()
    assert run.saved == 1


def test_a_signal_during_a_step_waits_for_the_next() -> None:
    run = Run()
    run.coordinator.step_begins()
    run.note.number = signal.SIGTERM
    run.coordinator.step_ends()
    assert run.saved == 0
    with pytest.raises(Interrupted, match="SIGTERM"):
        run.step()


def test_a_run_that_is_asked_to_stop_saves_and_stops() -> None:
    run = Run()
    run.step()
    run.stop = True
    with pytest.raises(Interrupted, match="stop file"):
        run.step()
    assert run.saved == 1
    told = Run(others=STOP)
    with pytest.raises(Interrupted, match="stop file"):
        told.step()


def test_a_stop_file_is_seen_and_not_looked_for_all_the_time(tmp_path: Path) -> None:
    often, seldom = (StopFile(tmp_path / "stop", seconds) for seconds in (0.0, 3600.0))
    assert not often.is_there()
    assert not seldom.is_there()
    (tmp_path / "stop").touch()
    assert often.is_there()
    assert not seldom.is_there()


def fail() -> None:
    raise RunError("the disk is full")


def test_a_failed_write_is_raised_at_the_end_of_a_step() -> None:
    run = Run()
    run.writer.start(fail)
    run.writer.settle()
    run.coordinator.step_begins()
    with pytest.raises(RunError, match="the disk is full"):
        run.coordinator.step_ends()


def test_a_run_stops_when_its_last_checkpoint_is_there() -> None:
    run = Run()
    release, written = threading.Event(), threading.Event()

    def write() -> None:
        release.wait(60)
        written.set()

    run.write = write
    run.note.number = signal.SIGTERM
    threading.Timer(0.05, release.set).start()
    with pytest.raises(Interrupted):
        run.step()
    assert written.is_set()


def test_every_second_epoch() -> None:
    run = Run()
    for epoch in (1, 2, 3, 4):
        run.coordinator.epoch_ends(epoch)
    assert run.saved == 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_said_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with signals_noted(speaks=True) as note:
        assert note.number is None
        for _ in range(2):
            os.kill(os.getpid(), number)
        assert note.number == number
    assert signal.getsignal(number) == before
    assert capfd.readouterr().err == f"hvdtrain: {number.name}: the run ends after the next step\n"
