"""Whole runs of two ranks with everything that a recipe can ask of an optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.plan.method.optimizer import LambSpec
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

RECIPE = """
name = "mine"
title = "mine"
source = "a test"
label_smoothing = 0.1
[optimizer]
name = "lamb"
clip_norm = 1.0
[scaling]
base_lr = 0.01
base_batch = 32
[[phase]]
name = "all"
epochs = 2
start = 1.0
end = 0.0
weight_decay = 1e-2
"""


def run(folder: Path, recipe: str) -> Record:
    folder.mkdir()
    path = folder / "recipe.toml"
    path.write_text(recipe)
    words = ["--model", "small", "--image-size", "8", "--images-per-epoch", "100"]
    words += ["--rank-batch", "4", "--accumulate", "4", "--recipe", str(path)]
    words += ["--results", str(folder), "--run-id", "run"]
    run_ranks(["-m", "hvdtrain", "train", *words], folder / "out")
    return load_json(folder / "run" / RECORD_FILE, Record)


def test_accumulation_lamb_smoothing_and_averages_together(tmp_path: Path) -> None:
    """That both ranks end with the same weights, the run checks for itself."""
    plain = run(tmp_path / "plain", RECIPE)
    averaged = run(tmp_path / "averaged", "average_decay = 0.9\n" + RECIPE)
    for record in (plain, averaged):
        assert record.status == "completed"
        assert record.plan.recipe.optimizer == LambSpec(clip_norm=1.0)
        assert (record.plan.accumulate, record.plan.global_batch, record.steps) == (4, 32, 6)
    # The averages have no part in the training. They are what is evaluated and saved.
    losses = [[epoch.training_loss for epoch in record.epochs] for record in (plain, averaged)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][-1] < losses[0][0]
    first, second = (record.epochs[-1].evaluation for record in (plain, averaged))
    assert first is not None
    assert second is not None
    assert first.loss != pytest.approx(second.loss, rel=1e-3)
    assert plain.weights_sha256 != averaged.weights_sha256
