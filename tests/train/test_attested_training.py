"""A training stops when ranks share a core, and names the rank for which the others wait."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.plan.machine.environment import COMM_CPUS, COMPUTE_CPUS, DATA_CPUS, HOROVOD_CPUS
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(400)]

# Rank 1 waits long for each batch of its data.
SLOW_DATA = """
import os, time
from hvdtrain.train.data import pipeline

def slowly(batches):
    for batch in batches:
        time.sleep(0.5)
        yield batch

def open_slowly(*arguments):
    found = open_pipeline(*arguments)
    training = found.training
    found.training = lambda *first: slowly(training(*first))
    return found

open_pipeline = pipeline.open_pipeline
if (os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]) == "1":
    pipeline.open_pipeline = open_slowly
from hvdtrain.cli.main import main
main()
"""


def one_wrong_setting() -> dict[str, str]:
    """A core map of two ranks, and a setting that puts both Horovods on the first core."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("two ranks need two processors to be apart")
    cores = f"{cpus[0]}:{cpus[1]}"
    return {
        COMPUTE_CPUS: cores,
        COMM_CPUS: ":",
        HOROVOD_CPUS: cores,
        DATA_CPUS: cores,
        "HOROVOD_THREAD_AFFINITY": f"{cpus[0]},{cpus[0]}",
    }


def words(program: tuple[str, str], results: Path, *more: str) -> list[str]:
    found = [*program, "train", "--model", "small", "--image-size", "16", "--rank-batch", "4"]
    found += ["--images-per-epoch", "64", "--epochs", "2", "--steps", "8"]
    return [*found, "--results", str(results), "--run-id", "run", *more]


def test_ranks_that_share_a_core_do_not_train(tmp_path: Path) -> None:
    train = words(("-m", "hvdtrain"), tmp_path)
    variables = one_wrong_setting()
    run_ranks(train, tmp_path / "out", variables=variables, timeout_seconds=350, expected_exit=1)
    record = load_json(tmp_path / "run" / RECORD_FILE, Record)
    assert (record.status, record.steps) == ("failed", 1)
    assert record.failure is not None
    assert "ranks 0, 1 share core" in record.failure
    assert "--no-attest" in record.failure


def test_a_slow_rank_is_named_in_the_record_the_metrics_and_once_on_stderr(tmp_path: Path) -> None:
    train = words(("-c", SLOW_DATA), tmp_path, "--no-attest", "--steps", "12")
    run_ranks(train, tmp_path / "out", variables=one_wrong_setting(), timeout_seconds=350)
    record = load_json(tmp_path / "run" / RECORD_FILE, Record)
    assert record.status == "completed"
    named = [[straggler.rank for straggler in epoch.stragglers] for epoch in record.epochs]
    assert named == [[1], [1]]
    (straggler,) = record.epochs[0].stragglers
    assert straggler.host == record.placement[1].host
    assert straggler.seconds >= 0.5
    assert straggler.ratio > 1.1
    first, second = record.rank_seconds
    assert first < 0.5 <= second
    lines = (tmp_path / "run" / METRICS_FILE).read_bytes().splitlines()
    decoded = [msgspec.json.decode(line, type=MetricsLine) for line in lines]
    evaluations = [line for line in decoded if line.count is not None]
    assert [line.stragglers for line in evaluations] == [
        epoch.stragglers for epoch in record.epochs
    ]
    said = (tmp_path / "out" / "0.err").read_text()
    assert said.count("rank 1 on ") == 1
    assert "the others wait for it" in said
