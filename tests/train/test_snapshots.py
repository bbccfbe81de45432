"""Snapshots, collapses and ensembles with real ranks, from one small run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import Checkpoint, find_snapshots, read_checkpoint
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(600)]

LAUNCH_SECONDS = 280
# Epochs of 41 images are 5.125 steps of two ranks. The second snapshot lies within an epoch.
SNAPSHOT_STEPS = {1: 10, 2: 18, 3: 26}
VALIDATION_IMAGES = 23
PHASE = (
    '[[phase]]\nname = "{0}"\nepochs = {1}\ncurve = "linear"\nstart = {2}\nend = {3}\n'
    "weight_decay = {4}\naugment = {5}\nsnapshot = {6}\n"
)
HEAD = (
    'name = "{0}"\ntitle = "t"\nsource = "a test"\n[scaling]\nbase_lr = 0.05\nbase_batch = 8\n'
    + PHASE.format("a", 2.0, "1.0", 0.5, 5e-5, "true", "true")
)
COLLAPSE = (
    'name = "collapse"\nepochs = 1.5\nend = 0.0\npower = 2\nweight_decay = 1e-4\naugment = false\n'
)
CYCLES = (
    HEAD.format("cycles")
    + PHASE.format("b", 1.6, '"previous"', 0.4, 5e-5, "true", "true")
    + PHASE.format("c", 1.4, '"previous"', 0.3, 5e-5, "true", "true")
    + f"[collapse]\n{COLLAPSE}"
)
WHOLE = HEAD.format("whole") + f"[[phase]]\n{COLLAPSE}"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder with the run `run`, and beside it the images and the recipes."""
    base = tmp_path_factory.mktemp("snapshots")
    noise = np.random.default_rng(7)
    for split, count in (("train", 41), ("val", VALIDATION_IMAGES)):
        for number in range(count):
            target = base / "images" / split / f"class{number % 7}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(target)
    (base / "cycles.toml").write_text(CYCLES)
    (base / "whole.toml").write_text(WHOLE)
    train(base / "results", "run", "cycles")
    return base / "results"


def train(results: Path, run_id: str, recipe: str, *more: str) -> Record:
    base = results.parent
    words = ["-m", "hvdtrain", "train", "--model", "small", "--image-size", "8"]
    words += ["--rank-batch", "4", "--data", str(base / "images"), "--results", str(results)]
    words += ["--recipe", str(base / f"{recipe}.toml"), "--run-id", run_id, *more]
    run_ranks(words, base / "out", timeout_seconds=LAUNCH_SECONDS)
    return read_record(results, run_id)


def read_record(results: Path, run_id: str) -> Record:
    return load_json(results / run_id / RECORD_FILE, Record)


@pytest.fixture(scope="module")
def collapsed(results: Path) -> Path:
    """The same folder when all snapshots have been collapsed."""
    collapse(results)
    return results


def collapse(results: Path) -> None:
    words = ["-m", "hvdtrain", "collapse", str(results / "run")]
    run_ranks(words, results.parent / "out", timeout_seconds=LAUNCH_SECONDS)


def read_snapshots(results: Path, run_id: str = "run") -> dict[int, Checkpoint]:
    found = find_snapshots(results / run_id / "snapshots")
    return {number: read_checkpoint(path) for number, path in found.items()}


def digest_of_weights(snapshot: Checkpoint) -> str:
    """SHA-256 of the weights and moving statistics, as the record of a run has it."""
    digest = hashlib.sha256()
    for name, array in zip(snapshot.state.names, snapshot.replicated, strict=True):
        if not name.endswith("momentum:0"):
            digest.update(array.tobytes())
    return digest.hexdigest()


def test_snapshots_are_kept_where_the_recipe_says_each_evaluated(results: Path) -> None:
    snapshots = read_snapshots(results)
    assert {number: found.state.step for number, found in snapshots.items()} == SNAPSHOT_STEPS
    record = read_record(results, "run")
    at_ends_of_epochs = {1: record.epochs[1].evaluation, 3: record.epochs[4].evaluation}
    for number, snapshot in snapshots.items():
        evaluation = snapshot.state.evaluation
        assert evaluation is not None
        assert evaluation.count == VALIDATION_IMAGES
        assert evaluation == at_ends_of_epochs.get(number, evaluation)
        # What is evaluated is what is kept: one set of statistics for all ranks.
        assert len(snapshot.per_rank) == 1
    assert digest_of_weights(snapshots[3]) == record.weights_sha256


def test_a_snapshot_is_the_state_of_a_run_that_ended_there(results: Path) -> None:
    record = train(results, "ended", "cycles", "--steps", str(SNAPSHOT_STEPS[2]))
    snapshots, ended = read_snapshots(results), read_snapshots(results, "ended")
    assert ended.keys() == {1, 2}
    for number, snapshot in ended.items():
        for one, other in zip(snapshots[number].replicated, snapshot.replicated, strict=True):
            assert one.tobytes() == other.tobytes()
        assert snapshots[number].per_rank.tobytes() == snapshot.per_rank.tobytes()
    assert digest_of_weights(snapshots[2]) == record.weights_sha256
    assert snapshots[2].state.evaluation == record.epochs[-1].evaluation


def read_rates(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    return [(line["step"], line["learning_rate"]) for line in lines if line["loss"] is not None]


@pytest.mark.parametrize(("number", "left_off"), [(1, 0.5), (2, 0.4), (3, 0.3)])
def test_a_collapse_begins_where_the_snapshot_left_off_and_ends_at_0(
    number: int, left_off: float, collapsed: Path
) -> None:
    step = SNAPSHOT_STEPS[number]
    record = read_record(collapsed, f"run-collapse-{number}")
    origin = record.plan.origin
    assert origin is not None
    assert (origin.run_id, origin.snapshot, origin.step) == ("run", number, step)
    assert origin.evaluation == read_snapshots(collapsed)[number].state.evaluation
    assert (record.status, record.resumed_at) == ("completed", ())
    steps = record.plan.total_steps - step
    assert record.steps == steps == sum(epoch.steps for epoch in record.epochs)
    assert record.epochs[0].epoch == step // 5 + 1
    made, rates = zip(*read_rates(collapsed / f"run-collapse-{number}"), strict=True)
    assert made == tuple(range(step + 1, step + steps + 1))
    assert rates == pytest.approx(
        [left_off * 0.05 * (1 - own / steps) ** 2 for own in range(steps)]
    )
    assert (collapsed / f"run-collapse-{number}" / "final.weights.h5").exists()


def test_a_collapse_is_the_end_of_a_run_that_never_stopped(collapsed: Path) -> None:
    """Weights, momentum, data order, decay and augmentation go on as if in one run."""
    whole = train(collapsed, "whole", "whole")
    collapse = read_record(collapsed, "run-collapse-1")
    assert collapse.weights_sha256 == whole.weights_sha256
    assert [epoch.evaluation for epoch in collapse.epochs] == [
        epoch.evaluation for epoch in whole.epochs[2:]
    ]


def test_only_what_is_missing_is_collapsed_again(collapsed: Path) -> None:
    before = read_record(collapsed, "run-collapse-2")
    for name in (RECORD_FILE, "final.weights.h5"):  # as if it had been cut off
        (collapsed / "run-collapse-2" / name).unlink()
    kept = {n: (collapsed / f"run-collapse-{n}" / RECORD_FILE).stat() for n in (1, 3)}
    collapse(collapsed)
    said = (collapsed.parent / "out" / "0.err").read_text()
    assert "snapshot 1 has been collapsed" in said
    assert "run-collapse-2 goes on" in said
    assert read_record(collapsed, "run-collapse-2").weights_sha256 == before.weights_sha256
    for number, status in kept.items():
        assert (collapsed / f"run-collapse-{number}" / RECORD_FILE).stat() == status


def ensemble(results: Path, *run_ids: str, ranks: int) -> Ensemble:
    words = ["-m", "hvdtrain", "ensemble", *(str(results / run_id) for run_id in run_ids)]
    folder = results.parent / "out"
    out = run_ranks([*words, "--json"], folder, ranks=ranks, timeout_seconds=LAUNCH_SECONDS)
    assert all(text == "" for text in out[1:])
    said = (folder / "0.err").read_text()
    written = Path(said.rpartition("ensemble: ")[2].strip())
    assert written.parent.parent == results
    found = load_json(written, Ensemble)
    assert json.loads(out[0]) == json.loads(written.read_text())
    shutil.rmtree(written.parent)
    return found


def test_two_ranks_and_one_make_the_same_ensemble(collapsed: Path) -> None:
    run_ids = [f"run-collapse-{number}" for number in SNAPSHOT_STEPS]
    two = ensemble(collapsed, *run_ids, ranks=2)
    one = ensemble(collapsed, *run_ids, ranks=1)
    assert two.evaluation.count == VALIDATION_IMAGES
    for this, other in zip(two.rows, one.rows, strict=True):
        assert msgspec.structs.astuple(this.evaluation) == pytest.approx(
            msgspec.structs.astuple(other.evaluation), rel=1e-6
        )
    # What each model scores in the ensemble is what its own run has measured.
    for member in two.members:
        measured = read_record(collapsed, member.run_id).epochs[-1].evaluation
        assert member.evaluation == measured
    assert [row.number for row in two.rows] == ["1", "1c", "2", "2c", "3", "3c", "ensemble"]
