"""A short training with three snapshots: how it is started, and that it ended as it should."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE, SNAPSHOTS_FOLDER
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import find_snapshots, read_checkpoint

STEPS = 120
# Of two ranks: snapshots within an epoch, at the end of one, and at the end of the run.
PHASES = {"a": 40, "b": 20, "c": 60}
RECIPE = (
    (
        'name = "cycles"\ntitle = "three snapshots"\nsource = "a test"\n'
        "[scaling]\nbase_lr = 0.05\nbase_batch = 8\n"
    )
    + "".join(
        f'[[phase]]\nname = "{name}"\nsteps = {steps}\nstart = 1.0\nend = 0.3\n'
        "weight_decay = 1e-4\nsnapshot = true\n"
        for name, steps in PHASES.items()
    )
    + '[collapse]\nname = "collapse"\nsteps = 8\nend = 0.0\nweight_decay = 1e-4\n'
)
OFTEN = ("--checkpoint-minutes", "0.0001")

Losses = list[tuple[int, float | None, float | None]]


def write_images(folder: Path) -> Path:
    """Two classes of noise: every image counts, and 15 steps of two ranks make an epoch."""
    noise = np.random.default_rng(7)
    for split, count in (("train", 121), ("val", 9)):
        for number in range(count):
            target = folder / split / f"class{number % 2}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(target)
    (folder / "cycles.toml").write_text(RECIPE)
    return folder


def train_words(images: Path, results: Path, *more: str, run_id: str = "run") -> list[str]:
    """The command, without the program."""
    words = ["train", "--model", "small", "--image-size", "8"]
    words += ["--rank-batch", "4", "--steps", str(STEPS), "--data", str(images)]
    words += ["--recipe", str(images / "cycles.toml"), "--checkpoint-epochs", "1"]
    return [*words, "--results", str(results), "--run-id", run_id, *more]


def read_record(results: Path, run_id: str = "run") -> Record:
    return load_json(results / run_id / RECORD_FILE, Record)


def read_losses(folder: Path) -> Losses:
    """Step, loss and evaluation loss of each line of the metrics, all of which are whole."""
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    return [(line["step"], line["loss"], line["evaluation_loss"]) for line in lines]


def read_snapshots(folder: Path) -> list[tuple[int, int, list[bytes]]]:
    """Number, step and values of each snapshot; no half one is left."""
    found = find_snapshots(folder / SNAPSHOTS_FOLDER)
    assert len(list((folder / SNAPSHOTS_FOLDER).glob("*"))) == len(found)
    snapshots = {number: read_checkpoint(path) for number, path in found.items()}
    return [
        (number, each.state.step, [array.tobytes() for array in (*each.replicated, each.per_rank)])
        for number, each in snapshots.items()
    ]


def assert_same(folder: Path, undisturbed: Path) -> None:
    """Raise unless a run has left what one has left that nothing happened to."""
    assert_same_results(folder, undisturbed)
    assert read_losses(folder) == read_losses(undisturbed)


def assert_same_results(folder: Path, undisturbed: Path) -> None:
    """The same without the metrics."""
    record, expected = (load_json(f / RECORD_FILE, Record) for f in (folder, undisturbed))
    assert record.weights_sha256 == expected.weights_sha256
    assert record.status == "completed"
    assert (record.steps, record.corrupt_images) == (expected.steps, expected.corrupt_images)
    assert [(e.epoch, e.steps, e.training_loss, e.evaluation) for e in record.epochs] == [
        (e.epoch, e.steps, e.training_loss, e.evaluation) for e in expected.epochs
    ]
    assert read_snapshots(folder) == read_snapshots(undisturbed)


def wait_for_steps(folder: Path, running: subprocess.Popen[str], steps: int) -> None:
    """Wait until so many steps have been made, or the run has ended; at most as long as a test."""
    metrics = folder / METRICS_FILE
    grown = size = 0
    while running.poll() is None and grown < steps:
        before, size = size, metrics.stat().st_size if metrics.exists() else 0
        # A resume makes the file shorter; what is found at the start is of an earlier process.
        grown += before > 0 and size > before
        time.sleep(0.005)
