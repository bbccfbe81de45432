"""However the gradients happen to become ready, the ranks end with the very same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(700)]


def train(results: Path, cycle_ms: int) -> Record:
    """Four steps of ResNet-50: of its 16 groups of gradients some become ready together."""
    words = ["-m", "hvdtrain", "train", "--image-size", "32", "--rank-batch", "2", "--steps", "4"]
    words += ["--images-per-epoch", "600", "--results", str(results), "--run-id", str(cycle_ms)]
    variables = {"HOROVOD_CYCLE_TIME": str(cycle_ms)}
    # Two summands are the same in any order; three are not.
    run_ranks(words, results / "out", ranks=3, timeout_seconds=330, variables=variables)
    return load_json(results / str(cycle_ms) / RECORD_FILE, Record)


def test_the_cycle_of_horovod_changes_no_weight(tmp_path: Path) -> None:
    first, other = train(tmp_path, 1), train(tmp_path, 100)
    assert (first.steps, first.plan.ranks, first.status) == (4, 3, "completed")
    assert first.weights_sha256 == other.weights_sha256
