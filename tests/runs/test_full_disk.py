"""A disk that is full: what a run leaves is whole or not there, and the error says what to do."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import create_folder
from hvdtrain.files.decode import load_json
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.runs.attempt import (
    Attempt,
    next_attempt,
    read_attempt,
    read_failure,
    write_attempt,
    write_failure,
)
from hvdtrain.runs.folder import RunFolder, find_submission, reserve_run, write_submission
from hvdtrain.runs.lock import take_lock
from hvdtrain.runs.metrics import MetricsLine, read_metrics
from hvdtrain.runs.names import ENSEMBLE_FILE, METRICS_FILE, PLAN_FILE, PREFLIGHT_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.runs.submission import Submission
from hvdtrain.train.checkpoint.archive import read_newest, write_checkpoint
from tests.disk import Disk, mounted
from tests.samples import sample_checkpoint, sample_plan, sample_preflight, sample_record

SUBMISSION = Submission(
    run_id="run",
    submitted="2026-03-14T15:09:26+00:00",
    command="hvdtrain submit",
    system="local",
    job_name="run",
    request=JobRequest(),
    nodes=1,
    global_batch=8,
    total_steps=900,
    walltime_min=60,
)
MAKE_ROOM = r"cannot be (written|made): No space left on device\n  fix: make room on that file"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path, 2**20) as disk:
        yield disk


def left(folder: Path) -> list[str]:
    """Everything below a folder, hidden files and folders too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_full(act: Callable[[], object]) -> None:
    with pytest.raises(RunError, match=MAKE_ROOM) as caught:
        act()
    assert len(str(caught.value).splitlines()) == 2


def test_a_run_does_not_begin_and_can_when_there_is_room(disk: Disk) -> None:
    disk.fill()
    assert_full(lambda: RunFolder.create(disk.path, "run", sample_plan()))
    assert left(disk.path) == ["ballast", "run"]
    disk.make_room()
    RunFolder.create(disk.path, "run", sample_plan())
    assert left(disk.path) == ["run", f"run/{PLAN_FILE}"]


def test_a_record_is_whole_or_not_there(disk: Disk) -> None:
    folder = RunFolder.create(disk.path, "run", sample_plan())
    disk.fill()
    assert_full(lambda: folder.close(sample_record(run_id="run")))
    assert left(disk.path) == ["ballast", "run", f"run/{PLAN_FILE}"]
    disk.make_room()
    assert folder.close(sample_record(run_id="run"))
    assert load_json(folder.path / RECORD_FILE, Record).run_id == "run"


@pytest.mark.parametrize("leave", [0, 4096])
def test_metrics_end_with_a_whole_line(disk: Disk, leave: int) -> None:
    folder = RunFolder.create(disk.path, "run", sample_plan())

    def append() -> None:
        for step in range(1, 200):
            folder.append(MetricsLine(step=step, epoch=1, seconds=0.5, learning_rate=0.1, loss=6.9))

    folder.append(MetricsLine(step=1, epoch=1, seconds=0.5, learning_rate=0.1, loss=6.9))
    disk.fill(leave)
    assert_full(append)
    written = (folder.path / METRICS_FILE).read_bytes()
    assert written.endswith(b"}\n")
    metrics = read_metrics(folder.path)
    assert (metrics.unreadable, metrics.reason) == (0, None)
    assert len(metrics.steps) == written.count(b"\n") > 1


def test_a_run_cannot_be_taken_up_again_and_loses_nothing(disk: Disk) -> None:
    folder = RunFolder.create(disk.path, "run", sample_plan())
    line = MetricsLine(step=1, epoch=1, seconds=0.5, learning_rate=0.1, loss=6.9)
    folder.append(line)
    before = (folder.path / PLAN_FILE).read_bytes()
    disk.fill()
    assert_full(lambda: folder.reopen(sample_plan(seed=9), 1, 0))
    assert (folder.path / PLAN_FILE).read_bytes() == before
    disk.make_room()
    folder.reopen(sample_plan(seed=9), 1, 0)
    assert folder.read_plan().seed == 9
    assert read_metrics(folder.path).steps == (line,)


@pytest.mark.parametrize("leave", [0, 4096])
def test_the_last_checkpoint_stays(disk: Disk, leave: int) -> None:
    write_checkpoint(disk.path / "checkpoints", sample_checkpoint(5))
    disk.fill(leave)
    checkpoint = dataclasses.replace(
        sample_checkpoint(9), per_rank=np.zeros((2, 20_000), np.float32)
    )
    assert_full(lambda: write_checkpoint(disk.path / "checkpoints", checkpoint))
    assert left(disk.path / "checkpoints") == ["checkpoint-0000000005.npz"]
    newest, damaged = read_newest(disk.path / "checkpoints")
    assert newest is not None
    assert (newest.state.step, damaged) == (5, [])


def test_a_report_of_a_preflight_stays_that_of_the_last_one(disk: Disk) -> None:
    folder = RunFolder(disk.path / "run")
    folder.keep_preflight(sample_preflight(seconds=9.0))
    before = (folder.path / PREFLIGHT_FILE).read_bytes()
    disk.fill()
    assert_full(lambda: folder.keep_preflight(sample_preflight(seconds=8.0)))
    assert (folder.path / PREFLIGHT_FILE).read_bytes() == before
    assert left(folder.path) == [PREFLIGHT_FILE]


def test_nothing_is_reserved_of_a_run_and_job_ids_stay(disk: Disk) -> None:
    disk.fill()
    assert_full(lambda: reserve_run(disk.path, SUBMISSION, "#!/bin/bash\n"))
    assert_full(lambda: create_folder(disk.path / "ensemble-1", {ENSEMBLE_FILE: b"{}"}))
    assert left(disk.path) == ["ballast"]
    disk.make_room()
    folder = reserve_run(disk.path, SUBMISSION, "#!/bin/bash\n")
    disk.fill()
    assert_full(lambda: write_submission(folder, msgspec.structs.replace(SUBMISSION, jobs=("7",))))
    assert find_submission(disk.path, "run") == SUBMISSION


def test_a_job_does_not_start_and_its_lock_is_not_taken(disk: Disk) -> None:
    first = Attempt(step=0, restarts=0)
    write_attempt(disk.path / "run", first)
    disk.fill()
    assert_full(lambda: write_attempt(disk.path / "run", next_attempt(first, 0)))
    assert read_attempt(disk.path / "run") == first
    assert_full(lambda: take_lock(disk.path / "run"))
    assert left(disk.path) == ["ballast", "run", "run/.attempt"]


def test_a_failure_is_known_where_its_reason_cannot_be_written(disk: Disk) -> None:
    assert read_failure(disk.path, "7") is None
    disk.fill()
    write_failure(disk.path, "7", "the disk is full")
    assert read_failure(disk.path, "7") == "its ranks have said why"
    disk.make_room()
    write_failure(disk.path, "7", "the disk is full\n  fix: make room")
    assert read_failure(disk.path, "7") == "the disk is full"


def test_a_read_only_file_system_is_said(disk: Disk) -> None:
    folder = RunFolder.create(disk.path, "run", sample_plan())
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    with pytest.raises(RunError, match=r"Read-only file system\n.*takes no writes"):
        folder.close(sample_record(run_id="run"))
    with pytest.raises(RunError, match=r"Read-only file system\n.*takes no writes"):
        RunFolder.create(disk.path, "other", sample_plan())
    write_failure(folder.path, "7", "nothing can be written")
    assert os.listdir(folder.path) == [PLAN_FILE]
