"""A run that is stopped and continued ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from hvdtrain.runs.lock import take_lock
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, METRICS_FILE, OWNER_FILE, RECORD_FILE
from hvdtrain.train.checkpoint.archive import read_newest
from tests.ranks import find_ranks, run_ranks, start_ranks
from tests.small_run import (
    PHASES,
    assert_same,
    read_record,
    read_snapshots,
    train_words,
    wait_for_steps,
    write_images,
)

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

# Who waits for a certain step wants to see it when it is made.
AT_ONCE = """
from hvdtrain.stack import ensure_stack
ensure_stack()
from hvdtrain.train import metrics
metrics.WRITE_SECONDS = 0.01
from hvdtrain.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def command(images: Path, results: Path) -> list[str]:
    return ["-m", "hvdtrain", *train_words(images, results)]


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    results = tmp_path_factory.mktemp("undisturbed")
    run_ranks(command(images, results), results / "out")
    assert sorted(path.name for path in (results / "run").iterdir()) == [
        "final.weights.h5",
        METRICS_FILE,
        "plan.json",
        RECORD_FILE,
        "snapshots",
    ]
    assert len(read_snapshots(results / "run")) == len(PHASES)
    return results / "run"


def stop_at(
    steps: int, number: signal.Signals, words: list[str], results: Path, ranks: int = 2
) -> None:
    """Start a run and send one rank a signal after some steps; all end in order."""
    running = start_ranks(words, results / "out", ranks=ranks)
    wait_for_steps(results / "run", running, steps)
    (second,) = find_ranks(str(results), rank=1)
    os.kill(second, number)
    running.communicate(timeout=100)
    said = (results / "out" / "0.err").read_text()
    assert running.returncode == 85, said
    assert number.name in said
    assert not (results / "run" / RECORD_FILE).exists()
    lines = (results / "run" / METRICS_FILE).read_text().splitlines()
    newest, _ = read_newest(results / "run" / CHECKPOINTS_FOLDER)
    assert newest is not None
    assert max(json.loads(line)["step"] for line in lines) == newest.state.step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_one_rank_stops_all_in_the_same_step(
    number: signal.Signals, images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    words = ["-c", AT_ONCE, *train_words(images, tmp_path)]
    stop_at(20, number, words, tmp_path)
    run_ranks(words, tmp_path / "out")
    assert_same(tmp_path / "run", undisturbed)
    assert len(read_record(tmp_path).resumed_at) == 1


@pytest.mark.timeout(700)
def test_three_ranks_whose_sums_depend_on_the_order_go_on_as_well(
    images: Path, tmp_path: Path
) -> None:
    for name, stops in (("whole", False), ("stopped", True)):
        results = tmp_path / name
        words = ["-c", AT_ONCE, *train_words(images, results)]
        if stops:
            stop_at(15, signal.SIGTERM, words, results, ranks=3)
        run_ranks(words, results / "out", ranks=3, timeout_seconds=250)
    assert_same(tmp_path / "stopped" / "run", tmp_path / "whole" / "run")
    assert len(read_record(tmp_path / "stopped").resumed_at) == 1


def test_a_checkpoint_that_cannot_be_written_fails_the_run_which_then_goes_on(
    images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "run" / "checkpoints"
    words = command(images, tmp_path)
    running = start_ranks(words, tmp_path / "out")
    while not (blocked.parent / "plan.json").exists():
        assert running.poll() is None
        time.sleep(0.01)
    blocked.write_text("not a folder")
    running.communicate(timeout=100)
    assert running.returncode == 1
    said = (tmp_path / "out" / "0.err").read_text()
    assert "checkpoints/checkpoint-0000000015.npz cannot be written" in said
    assert "Traceback" not in said
    assert read_record(tmp_path).status == "failed"
    blocked.unlink()
    run_ranks(words, tmp_path / "out")
    assert_same(tmp_path / "run", undisturbed)


def test_a_run_that_another_job_works_on_is_left_alone(images: Path, tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "run")
    running = start_ranks(command(images, tmp_path), tmp_path / "out")
    running.communicate(timeout=100)
    said = (tmp_path / "out" / "0.err").read_text()
    assert running.returncode == 2, said
    assert f"process {os.getpid()} on " in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == [OWNER_FILE]
    lock.release()
