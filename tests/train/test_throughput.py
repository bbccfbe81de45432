"""The speed of a run is that of the clock on the wall, whatever rank 0 does beside training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.metrics import read_metrics
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(400)]

EPOCHS, STEPS, SLOW_SECONDS = 3, 50, 0.05

# Something on rank 0 takes 50 ms, and a clock of our own stands at the ends of the epochs.
SLOW = """
import json, sys, time
from hvdtrain.stack import ensure_stack
ensure_stack()
from hvdtrain.runs.folder import RunFolder
from hvdtrain.train import progress
from hvdtrain.train.run import Run

what = sys.argv.pop(1)
seconds = sys.argv.pop(1)
append, step, evaluate = RunFolder.append, progress.Lines.step, Run.evaluate
ends, writes = [], []

def write(self, *lines):
    time.sleep(float(seconds) if what == "write" else 0.0)
    writes.append(len(lines))
    append(self, *lines)

def tell(self, *arguments):
    time.sleep(float(seconds) if what == "progress" else 0.0)
    step(self, *arguments)

def evaluate_timed(self):
    begin = time.perf_counter()
    found = evaluate(self)
    ends.append((begin, time.perf_counter()))
    return found

RunFolder.append, progress.Lines.step, Run.evaluate = write, tell, evaluate_timed
from hvdtrain.cli.main import main
try:
    main()
finally:
    print(json.dumps({"ends": ends, "writes": writes}))
"""


@pytest.mark.parametrize("what", ["write", "progress"])
def test_steps_epochs_and_record_agree_with_the_wall(what: str, tmp_path: Path) -> None:
    words = ["-c", SLOW, what, str(SLOW_SECONDS)]
    words += ["train", "--model", "small", "--image-size", "32", "--rank-batch", "8"]
    words += ["--images-per-epoch", str(16 * STEPS), "--epochs", str(EPOCHS)]
    words += ["--results", str(tmp_path), "--run-id", "run"]
    said, _ = run_ranks(words, tmp_path / "out", timeout_seconds=350)
    seen = json.loads(said)
    record = load_json(tmp_path / "run" / RECORD_FILE, Record)
    metrics = read_metrics(tmp_path / "run")
    assert [line.step for line in metrics.steps] == list(range(1, EPOCHS * STEPS + 1))
    assert sum(seen["writes"]) == EPOCHS * (STEPS + 1)
    sums = [
        math.fsum(line.step_seconds or 0.0 for line in metrics.steps if line.epoch == epoch.epoch)
        for epoch in record.epochs
    ]
    assert [epoch.seconds for epoch in record.epochs] == pytest.approx(sums, rel=0.01)
    for number in range(1, EPOCHS):
        wall = seen["ends"][number][0] - seen["ends"][number - 1][1]
        assert record.epochs[number].seconds == pytest.approx(wall, rel=0.01)
    warm_up = sum(line.step_seconds or 0.0 for line in metrics.steps[:2])
    counted = (math.fsum(sums) - warm_up) / (EPOCHS * STEPS - 2)
    assert record.seconds_per_step == pytest.approx(counted, rel=0.01)
    assert record.images_per_second == pytest.approx(16 / counted, rel=0.01)
    if what == "write":
        # A write for each line would take 7.5 s.
        assert len(seen["writes"]) < 2 + record.seconds / 2
        return
    assert min(epoch.seconds for epoch in record.epochs) > STEPS * SLOW_SECONDS
    named = [[straggler.rank for straggler in epoch.stragglers] for epoch in record.epochs]
    assert named == [[0]] * EPOCHS
    first, second = record.rank_seconds
    assert first > second + 0.8 * SLOW_SECONDS
