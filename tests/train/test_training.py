"""Whole runs with real ranks: what they leave, and how they end when something breaks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.stack import stack_variables
from tests.ranks import RANK_VARIABLES, ROOT, find_ranks, run_ranks, start_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

VALIDATION_IMAGES = 23
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy colours: easy to learn, and uneven over two ranks."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(7)
    for split, count in (("train", 120), ("val", VALIDATION_IMAGES)):
        for number in range(count):
            label = number % len(COLOURS)
            noise = random.integers(-50, 50, (32, 32, 3))
            pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
            target = folder / split / f"class{label}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    return folder


def train_words(results: Path, *more: str) -> list[str]:
    words = ["-m", "hvdtrain", "train", "--model", "small", "--rank-batch", "10"]
    # The default of so small a data set is every second epoch.
    words += ["--evaluate-epochs", "1"]
    return [*words, "--results", str(results), "--run-id", "run", *more]


def read_record(results: Path) -> Record:
    return load_json(results / "run" / RECORD_FILE, Record)


def check_learned(record: Record) -> None:
    assert (record.kind, record.status) == ("measured", "completed")
    assert [epoch.steps for epoch in record.epochs] == [6, 6, 6, 6]
    losses = [epoch.training_loss for epoch in record.epochs]
    assert losses[-1] < losses[0]
    evaluations = [epoch.evaluation for epoch in record.epochs]
    assert [e.count for e in evaluations if e is not None] == [VALIDATION_IMAGES] * 4
    assert evaluations[-1] is not None
    assert evaluations[-1].top1 > 0.6


def test_two_ranks_learn_from_image_folders(images: Path, tmp_path: Path) -> None:
    words = train_words(tmp_path, "--data", str(images), "--epochs", "4", "--tensorboard")
    run_ranks(words, tmp_path / "out")
    record = read_record(tmp_path)
    check_learned(record)
    assert record.reduction == "MPI"
    assert record.weights_sha256 is not None
    assert [place.rank for place in record.placement] == [0, 1]
    lines = (tmp_path / "run" / METRICS_FILE).read_text().splitlines()
    assert len(lines) == 24 + 4
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert (tmp_path / "run" / "final.weights.h5").stat().st_size > 100_000


def test_two_ranks_learn_from_tfrecords(images: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    prepare = [sys.executable, "-m", "hvdtrain", "prepare-data", str(images), str(shards)]
    subprocess.run([*prepare, "--shards", "3"], check=True, timeout=120, cwd=ROOT)
    run_ranks(train_words(tmp_path, "--data", str(shards), "--epochs", "4"), tmp_path / "out")
    check_learned(read_record(tmp_path))


def test_corrupt_images_are_named_counted_and_left_out(images: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(images, data)
    (data / "train" / "class1" / "1.jpg").write_bytes(b"no image")
    (data / "val" / "class0" / "0.jpg").write_bytes(b"no image")
    run_ranks(train_words(tmp_path, "--data", str(data), "--epochs", "2"), tmp_path / "out")
    record = read_record(tmp_path)
    assert record.status == "completed"
    assert record.corrupt_images == 1
    evaluations = [epoch.evaluation for epoch in record.epochs]
    assert [(e.count, e.corrupt) for e in evaluations if e] == [(VALIDATION_IMAGES - 1, 1)] * 2
    said = "".join((tmp_path / "out" / f"{rank}.err").read_text() for rank in (0, 1))
    assert "class1/1.jpg" in said
    assert "class0/0.jpg" in said


def test_a_diverged_run_stops_all_ranks_and_says_so(images: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "hot.toml"
    recipe.write_text(
        'name = "hot"\ntitle = "far too hot"\nsource = "a test"\n'
        "[scaling]\nbase_lr = 1000.0\nbase_batch = 1\n"
        '[[phase]]\nname = "all"\nepochs = 4\nstart = 1.0\nend = 1.0\nweight_decay = 0.9\n'
    )
    words = train_words(tmp_path, "--data", str(images), "--recipe", str(recipe))
    run_ranks(words, tmp_path / "out", expected_exit=1)
    record = read_record(tmp_path)
    assert record.status == "diverged"
    assert record.failure is not None
    assert re.search(r"at step \d+ .* that of ranks? [01]", record.failure)


def test_a_plan_for_other_ranks_stops(tmp_path: Path) -> None:
    words = train_words(tmp_path, "--nodes", "2", "--ranks-per-node", "4", "--epochs", "1")
    run_ranks(words, tmp_path / "out", expected_exit=1)
    # The first rank to find out ends the others, perhaps before they have said so, too.
    said = "".join((tmp_path / "out" / f"{rank}.err").read_text() for rank in (0, 1))
    assert "the plan is for 2 nodes x 4 ranks and 2 ranks were started on 1 nodes" in said
    assert not (tmp_path / "run").exists()


def test_wrong_input_is_said_once(tmp_path: Path) -> None:
    words = train_words(tmp_path, "--data", str(tmp_path / "nowhere"))
    run_ranks(words, tmp_path / "out", expected_exit=2)
    said = [(tmp_path / "out" / f"{rank}.err").read_text() for rank in (0, 1)]
    assert "nowhere" in said[0]
    assert "nowhere" not in said[1]


def test_silent_solo_training_is_caught(tmp_path: Path) -> None:
    """The launcher of another MPI: its variables are there and our MPI sees one rank."""
    environ = {
        **os.environ,
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    }
    ended = subprocess.run(
        [sys.executable, *train_words(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert ended.returncode == 1, ended.stderr
    assert "every process would train alone" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Two ranks that train for a long time, some steps into it."""
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **RANK_VARIABLES}
    words = train_words(tmp_path, "--images-per-epoch", "2000000", "--image-size", "16")
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            ["mpirun", "-n", "2", sys.executable, *words],
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    metrics = tmp_path / "run" / METRICS_FILE
    deadline = time.monotonic() + 120
    try:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 3):
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield running
    finally:
        running.kill()
        running.wait()
        for process in find_ranks(str(tmp_path)):
            os.kill(process, signal.SIGKILL)


def test_a_killed_rank_takes_the_run_down(endless: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (victim,) = find_ranks(str(tmp_path), rank=1)
    os.kill(victim, signal.SIGKILL)
    started = time.monotonic()
    assert endless.wait(timeout=60) != 0
    assert time.monotonic() - started < 60
    record = tmp_path / "run" / RECORD_FILE
    assert not record.exists() or json.loads(record.read_text())["status"] == "failed"


DIES = """
import os, sys
import hvdtrain.train.start as start
from hvdtrain.cli.main import main
if (os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]) == "1":
    os.kill(os.getpid(), 9)
start.START_SECONDS = 20.0
sys.argv = ["hvdtrain", "train", "--model", "small", "--results", sys.argv[1]]
main()
"""


def test_a_rank_that_dies_before_it_has_joined_leaves_nobody_waiting(tmp_path: Path) -> None:
    running = start_ranks(["-c", DIES, str(tmp_path / "results")], tmp_path / "out")
    try:
        running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode != 0
    assert not (tmp_path / "results").exists()
