"""Ranks that do not hold the same weights stop together, and nothing of it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hvdtrain.errors import RunError
from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import read_newest
from hvdtrain.train.checkpoint.digest import replica_sha256, require_same_replicas
from tests.ranks import run_ranks

pytestmark = pytest.mark.tf

HOSTS = tuple(f"n{number}" for number in range(12))


def said(*digests: bytes) -> str:
    with pytest.raises(RunError) as caught:
        require_same_replicas(digests, HOSTS, 7)
    return caught.value.message


def test_the_ranks_that_differ_from_most_are_named() -> None:
    require_same_replicas([b"a"] * 4, HOSTS, 7)
    assert said(b"x", b"a", b"a", b"y", b"a") == (
        "after step 7 the ranks hold 3 different sets of weights: rank 0 on n0, rank 3 on n3, "
        "against 3 ranks that hold the same"
    )
    assert "rank 0 on n0, rank 1 on n1, and none has a majority" in said(b"a", b"b")
    assert said(*(b"%d" % rank for rank in range(12))).count("rank ") == 8


def test_every_bit_and_the_order_count() -> None:
    one, other = np.zeros((3, 2), np.float32), np.ones(4, np.float32)
    digests = {replica_sha256(arrays) for arrays in ([one, other], [other, one], [one])}
    changed = one.copy()
    changed[2, 1] = -0.0
    assert replica_sha256([changed, other]) not in digests
    assert len(digests) == 3
    assert replica_sha256([one.copy(order="F"), other]) in digests


# The second rank's weights change by themselves, just before its second checkpoint.
BIT_FLIP = """
from hvdtrain.train.run import Run
save = Run.save
def flip(self):
    if self.world.rank == 1 and self.state.step == 4:
        weights = self.trainer.replicated[0]
        weights.assign(weights * (1 + 2**-23))
    save(self)
Run.save = flip
from hvdtrain.cli.main import main
main()
"""


@pytest.mark.ranks
def test_a_rank_that_drifts_away_stops_all(tmp_path: Path) -> None:
    words = ["train", "--model", "small", "--image-size", "8", "--rank-batch", "2"]
    words += ["--images-per-epoch", "8", "--steps", "20", "--results", str(tmp_path)]
    words += ["--checkpoint-epochs", "1"]
    program = ["-c", BIT_FLIP, *words, "--run-id", "run"]
    run_ranks(program, tmp_path / "out", expected_exit=1)
    record = load_json(tmp_path / "run" / RECORD_FILE, Record)
    assert record.status == "failed"
    assert record.failure is not None
    assert "after step 4 the ranks hold 2 different sets of weights: rank 0 on" in record.failure
    metrics = (tmp_path / "run" / METRICS_FILE).read_text().splitlines()
    assert '"step":4,' in metrics[-1]
    newest, _ = read_newest(tmp_path / "run" / CHECKPOINTS_FOLDER)
    assert newest is not None
    assert newest.state.step == 2
