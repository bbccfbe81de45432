"""A run that is cut off at any moment and continued ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.runs.lock import take_lock
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, METRICS_FILE, OWNER_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import find_snapshots, read_checkpoint, read_newest
from tests.ranks import find_ranks, run_ranks, start_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

# HVDTRAIN_KILLS=200: what `make torture` does.
KILLS = int(os.environ.get("HVDTRAIN_KILLS", "20"))
SECONDS_PER_KILL = 60
STEPS = 120
# Snapshots within an epoch, at the end of one, and at the end of the run.
PHASES = {"a": 40, "b": 20, "c": 60}
RECIPE = (
    'name = "cycles"\ntitle = "three snapshots"\nsource = "a test"\n'
    "[scaling]\nbase_lr = 0.05\nbase_batch = 8\n"
) + "".join(
    f'[[phase]]\nname = "{name}"\nsteps = {steps}\nstart = 1.0\nend = 0.3\n'
    "weight_decay = 1e-4\nsnapshot = true\n"
    for name, steps in PHASES.items()
)
OFTEN = ("--checkpoint-minutes", "0.0001")
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
    """Two classes of noise: every image counts, and 15 steps of two ranks make an epoch."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(7)
    for split, count in (("train", 121), ("val", 9)):
        for number in range(count):
            target = folder / split / f"class{number % 2}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(target)
    (folder / "cycles.toml").write_text(RECIPE)
    return folder


def train_words(
    images: Path,
    results: Path,
    *more: str,
    run_id: str = "run",
    program: tuple[str, str] = ("-m", "hvdtrain"),
) -> list[str]:
    words = [*program, "train", "--model", "small", "--image-size", "8"]
    words += ["--rank-batch", "4", "--steps", str(STEPS), "--data", str(images)]
    words += ["--recipe", str(images / "cycles.toml"), "--checkpoint-epochs", "1"]
    return [*words, "--results", str(results), "--run-id", run_id, *more]


def read_record(results: Path, run_id: str = "run") -> Record:
    return load_json(results / run_id / RECORD_FILE, Record)


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    results = tmp_path_factory.mktemp("undisturbed")
    run_ranks(train_words(images, results), results / "out")
    assert sorted(path.name for path in (results / "run").iterdir()) == [
        "final.weights.h5",
        METRICS_FILE,
        "plan.json",
        RECORD_FILE,
        "snapshots",
    ]
    return results / "run"


def read_losses(folder: Path) -> list[tuple[int, float | None, float | None]]:
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    return [(line["step"], line["loss"], line["evaluation_loss"]) for line in lines]


def read_snapshots(folder: Path) -> list[tuple[int, int, list[bytes]]]:
    """Number, step and values of each snapshot; no half one is left."""
    found = find_snapshots(folder / "snapshots")
    assert len(list((folder / "snapshots").iterdir())) == len(found) == len(PHASES)
    snapshots = {number: read_checkpoint(path) for number, path in found.items()}
    return [
        (number, each.state.step, [array.tobytes() for array in (*each.replicated, each.per_rank)])
        for number, each in snapshots.items()
    ]


def assert_same(folder: Path, undisturbed: Path) -> None:
    record, expected = (load_json(f / RECORD_FILE, Record) for f in (folder, undisturbed))
    assert record.weights_sha256 == expected.weights_sha256
    assert record.status == "completed"
    assert (record.steps, record.corrupt_images) == (expected.steps, expected.corrupt_images)
    assert [(e.epoch, e.steps, e.training_loss, e.evaluation) for e in record.epochs] == [
        (e.epoch, e.steps, e.training_loss, e.evaluation) for e in expected.epochs
    ]
    assert read_losses(folder) == read_losses(undisturbed)
    assert read_snapshots(folder) == read_snapshots(undisturbed)


def wait_for_steps(folder: Path, running: subprocess.Popen[str], steps: int) -> None:
    """Wait until so many steps have been made, or the run has ended."""
    metrics = folder / METRICS_FILE
    deadline = time.monotonic() + 100
    grown = size = 0
    while running.poll() is None and grown < steps:
        assert time.monotonic() < deadline
        before, size = size, metrics.stat().st_size if metrics.exists() else 0
        # A resume makes the file shorter; what is found at the start is of an earlier process.
        grown += before > 0 and size > before
        time.sleep(0.005)


def wait_for_processes(results: Path, running: subprocess.Popen[str]) -> None:
    """Wait until both ranks run, or have ended."""
    deadline = time.monotonic() + 100
    while running.poll() is None and len(find_ranks(str(results))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_somewhere(words: list[str], results: Path, run_id: str, chance: random.Random) -> bool:
    """Start a run, kill one rank or all of them at some moment; False: it was done before that."""
    running = start_ranks(words, results / "out")
    try:
        coming_up = chance.random() < 0.1
        if not coming_up:
            wait_for_steps(results / run_id, running, chance.randrange(1, 10))
            time.sleep(chance.uniform(0, 0.05))
        else:
            # A rank that is not there yet when the other one dies would wait for it.
            wait_for_processes(results, running)
            time.sleep(chance.uniform(0, 5))
        victims = find_ranks(str(results))
        # Intel MPI's launcher waits forever for a rank that died before MPI knew of it.
        if chance.random() < 0.7 and victims and not coming_up:
            victims = [chance.choice(victims)]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        running.communicate(timeout=90)
    finally:
        running.kill()
        for left in find_ranks(str(results)):
            os.kill(left, signal.SIGKILL)
    # One that is killed as it leaves has nothing left to do.
    record = results / run_id / RECORD_FILE
    return not record.exists() or load_json(record, Record).status != "completed"


@pytest.mark.timeout(SECONDS_PER_KILL * (KILLS + 2))
def test_kills_at_random_moments_change_nothing(
    images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    chance = random.Random(int(os.environ.get("HVDTRAIN_SEED", "0")))
    kills = runs = 0
    while kills < KILLS:
        words = train_words(images, tmp_path, *OFTEN, run_id=f"run{runs}")
        if kill_somewhere(words, tmp_path, f"run{runs}", chance):
            kills += 1
        else:
            assert_same(tmp_path / f"run{runs}", undisturbed)
            runs += 1
    words = train_words(images, tmp_path, *OFTEN, run_id=f"run{runs}")
    run_ranks(words, tmp_path / "out")
    assert_same(tmp_path / f"run{runs}", undisturbed)


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
    words = train_words(images, tmp_path, program=("-c", AT_ONCE))
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
        words = train_words(images, results, program=("-c", AT_ONCE))
        if stops:
            stop_at(15, signal.SIGTERM, words, results, ranks=3)
        run_ranks(words, results / "out", ranks=3, timeout_seconds=250)
    assert_same(tmp_path / "stopped" / "run", tmp_path / "whole" / "run")
    assert len(read_record(tmp_path / "stopped").resumed_at) == 1


def test_a_checkpoint_that_cannot_be_written_fails_the_run_which_then_goes_on(
    images: Path, undisturbed: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "run" / "checkpoints"
    words = train_words(images, tmp_path)
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
    running = start_ranks(train_words(images, tmp_path), tmp_path / "out")
    running.communicate(timeout=100)
    said = (tmp_path / "out" / "0.err").read_text()
    assert running.returncode == 2, said
    assert f"process {os.getpid()} on " in said
    assert [path.name for path in (tmp_path / "run").iterdir()] == [OWNER_FILE]
    lock.release()
