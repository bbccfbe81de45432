"""A record is written once, whole, and by whoever comes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import METRICS_FILE, PLAN_FILE, PREFLIGHT_FILE, RECORD_FILE
from hvdtrain.runs.preflight import Preflight
from tests.samples import sample_plan, sample_preflight, sample_record


def test_a_run_leaves_plan_metrics_and_record(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "results", "run-1", sample_plan())
    folder.append(MetricsLine(step=1, epoch=1, seconds=0.5, learning_rate=0.1, loss=6.9))
    folder.append(MetricsLine(step=2, epoch=1, seconds=0.9, learning_rate=0.2, loss=6.8))
    assert folder.close(sample_record(run_id="run-1"))
    assert sorted(path.name for path in folder.path.iterdir()) == [
        METRICS_FILE,
        PLAN_FILE,
        RECORD_FILE,
    ]
    lines = (folder.path / METRICS_FILE).read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [6.9, 6.8]
    assert json.loads((folder.path / RECORD_FILE).read_text())["run_id"] == "run-1"


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "run-1", sample_plan())
    with pytest.raises(InputError, match="run-1"):
        RunFolder.create(tmp_path, "run-1", sample_plan())


def test_a_preflight_leaves_its_newest_report_where_the_run_will_be(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "results" / "run-1")
    folder.keep_preflight(sample_preflight(seconds=9.0))
    folder.keep_preflight(sample_preflight(seconds=8.0))
    assert not folder.holds_run
    folder = RunFolder.create(tmp_path / "results", "run-1", sample_plan())
    assert sorted(path.name for path in folder.path.iterdir()) == [PLAN_FILE, PREFLIGHT_FILE]
    assert load_json(folder.path / PREFLIGHT_FILE, Preflight).seconds == 8.0


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RunError, match=r"run-1/preflight.json cannot be written"):
        RunFolder(tmp_path / "results" / "run-1").keep_preflight(sample_preflight())


def test_the_first_record_stays(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run-1", sample_plan())
    assert folder.close(sample_record(run_id="run-1", status="failed", failure="rank 3"))
    assert not folder.close(sample_record(run_id="run-1"))
    assert json.loads((folder.path / RECORD_FILE).read_text())["status"] == "failed"
    assert sorted(path.name for path in folder.path.iterdir()) == [PLAN_FILE, RECORD_FILE]


def test_a_results_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RunError, match="results/run-1 cannot be made"):
        RunFolder.create(tmp_path / "results", "run-1", sample_plan())
