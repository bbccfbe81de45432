"""The speed of a run must not contain what does not count, and a state comes back from a file."""

from __future__ import annotations

import msgspec
import pytest

from hvdtrain.runs.record import EpochResult
from hvdtrain.train.state import RankState, StepTimes, TrainingState, first_state
from tests.samples import sample_plan

KEYS = {
    *("version", "plan", "step", "epochs", "losses", "epoch_seconds", "training_seconds"),
    *("run_seconds", "started", "resumed_at", "names", "ranks", "evaluation"),
}


def make_times(*seconds: float, warm_up: int = 2) -> StepTimes:
    times = StepTimes()
    for number, each in enumerate(seconds):
        times.add(each, 0.5, counts=number >= warm_up)
    return times


def test_only_what_counts_is_in_the_means() -> None:
    times = make_times(60.0, 2.0, 1.0, 3.0)
    assert times.steps == 4
    assert times.mean_seconds == 2.0
    assert times.exposed_share == pytest.approx(0.25)


def test_a_run_of_warm_up_alone_has_no_speed() -> None:
    times = make_times(1.0, 1.0)
    assert times.mean_seconds is None
    assert times.exposed_share is None


def test_a_first_state_is_before_all_steps_of_its_plan() -> None:
    plan = sample_plan()
    state = first_state(plan, "2026-03-14T15:09:26+00:00")
    assert (state.step, state.epochs, state.losses, state.resumed_at) == (0, [], [], ())
    assert [rank.times.steps for rank in state.ranks] == [0, 0]
    assert state.ranks[0].times is not state.ranks[1].times


def test_a_state_comes_back_with_the_keys_that_files_have() -> None:
    state = first_state(sample_plan(), "now")
    state.ranks = (RankState(times=make_times(9.0, 5.0, 1.0), corrupt=(4,)), state.ranks[1])
    state.epochs = [EpochResult(epoch=1, steps=1, seconds=2, training_loss=1, learning_rate=0.1)]
    state.losses = [0.1, 1 / 3]
    encoded = msgspec.json.encode(state)
    assert msgspec.json.decode(encoded, type=TrainingState) == state
    decoded = msgspec.json.decode(encoded)
    assert decoded.keys() == KEYS
    assert decoded["ranks"][0] == {
        "clock": {"steps": 3, "counted": 1, "seconds": 1.0, "exposed_seconds": 0.5},
        "corrupt": [4],
    }
