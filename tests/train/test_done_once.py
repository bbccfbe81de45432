"""What all ranks need is done by one of them, and what is equal everywhere is not gathered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(550)]

# Says when it does one of these.
PROGRAM = """
from hvdtrain.train.checkpoint import resume
from hvdtrain.train.data import pipeline
from hvdtrain.train.process import context

def telling(module, name):
    work = getattr(module, name)
    def tell(*arguments):
        print(name, flush=True)
        return work(*arguments)
    setattr(module, name, tell)

telling(context, "read_git_commit")
telling(pipeline, "find_planned")
telling(resume, "gather_rows")
from hvdtrain.cli.main import main
main()
"""


def test_one_rank_of_a_node_does_what_all_need(tmp_path: Path) -> None:
    noise = np.random.default_rng(7)
    for split, count in (("train", 16), ("val", 4)):
        for number in range(count):
            target = tmp_path / "images" / split / f"class{number % 2}" / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(target)
    words = ["-c", PROGRAM, "train", "--model", "small", "--image-size", "8", "--rank-batch", "4"]
    words += ["--data", str(tmp_path / "images"), "--results", str(tmp_path), "--steps", "4"]
    # Two epochs of two steps: at the end of the first all ranks hold the same statistics.
    first, second = run_ranks(
        [*words, "--run-id", "seldom"], tmp_path / "seldom-out", timeout_seconds=250
    )
    assert first.split() == ["read_git_commit", "find_planned"]
    assert second.split() == []
    assert load_json(tmp_path / "seldom" / RECORD_FILE, Record).git_commit is not None
    often = [*words, "--run-id", "often", "--checkpoint-minutes", "0.0001"]
    first, second = run_ranks(often, tmp_path / "often-out", timeout_seconds=250)
    assert "gather_rows" in first.split()
    assert set(second.split()) == {"gather_rows"}
