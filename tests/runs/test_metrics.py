"""The lines of metrics.jsonl: what is there is read, and nothing ends the reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.runs.metrics import Metrics, MetricsLine, read_metrics
from hvdtrain.runs.names import METRICS_FILE
from tests.collect.records import write_metrics

STEP = MetricsLine(step=1, epoch=1, seconds=0.5, learning_rate=0.1, loss=6.9, step_seconds=0.5)
EVALUATION = MetricsLine(step=1, epoch=1, seconds=2.0, learning_rate=0.1, top1=0.5, count=10)


def test_steps_and_evaluations_are_told_apart(tmp_path: Path) -> None:
    write_metrics(tmp_path, [STEP, EVALUATION])
    assert read_metrics(tmp_path) == Metrics(steps=(STEP,), evaluations=(EVALUATION,))


def test_a_line_from_before_the_gradient_norm_was_measured_is_read(tmp_path: Path) -> None:
    write_metrics(tmp_path, [STEP])
    path = tmp_path / METRICS_FILE
    assert b'"gradient_norm":null,' in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b'"gradient_norm":null,', b""))
    assert read_metrics(tmp_path) == Metrics(steps=(STEP,))


def test_a_torn_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    write_metrics(tmp_path, [STEP, EVALUATION])
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes() + b'{"step": 2, "epo')
    found = read_metrics(tmp_path)
    assert (len(found.steps), len(found.evaluations), found.unreadable) == (1, 1, 1)


def test_a_step_that_no_run_reaches_is_passed_over(tmp_path: Path) -> None:
    write_metrics(tmp_path, [STEP])
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes().replace(b'"step":1,', b'"step":1%b,' % (b"0" * 400)))
    assert read_metrics(tmp_path) == Metrics(unreadable=1)


def test_no_file_is_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == Metrics()


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).mkdir()
    assert "directory" in (read_metrics(tmp_path).reason or "")


@given(data=st.binary(max_size=200))
def test_no_content_ends_the_reading(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    folder.mkdir(exist_ok=True)
    (folder / METRICS_FILE).write_bytes(data)
    found = read_metrics(folder)
    assert found.unreadable == len(data.splitlines()) - len(found.steps) - len(found.evaluations)
