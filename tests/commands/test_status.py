"""`hvdtrain status`: with Slurm, without it, and with a thousand runs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands import status as module
from hvdtrain.commands.status import command
from hvdtrain.commands.submit import command as submit_command
from hvdtrain.errors import InputError
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import METRICS_FILE
from tests.cli.markdown import read_cells
from tests.samples import sample_plan, sample_record
from tests.slurm.fake import FakeSlurm, make_fake_slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    return make_fake_slurm(tmp_path / "bin", monkeypatch)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def submit(slurm: FakeSlurm, name: str, first: int) -> str:
    """A submitted run; its id."""
    slurm.accept(first)
    words = ["--nodes", "256", "--data", "/d", "--job-name", name]
    CliRunner().invoke(submit_command, words, catch_exceptions=False)
    return next(run for run in os.listdir("results") if run.startswith(name))


def begin(run: str, step: int) -> RunFolder:
    folder = RunFolder.create(Path("results"), run, sample_plan())
    for number in range(1, step + 1):
        folder.append(
            MetricsLine(
                step=number, epoch=1 + number // 10, seconds=number, learning_rate=0, step_seconds=2
            )
        )
    return folder


def test_a_table_of_all_runs(slurm: FakeSlurm) -> None:
    waiting, running = submit(slurm, "a", 1), submit(slurm, "b", 2)
    begin(running, 5)
    begin("c", 3).close(sample_record(run_id="c", status="failed", failure="rank 1: no\x07 disk\n"))
    slurm.answer(
        "squeue",
        out="1|1|N/A|PENDING|normal|q|N/A|N/A|Priority|a\n2|2|N/A|RUNNING|normal|q|N/A|N/A|None|b\n",
    )
    done = invoke()
    assert done.stderr == ""
    head, *lines = read_cells(done.stdout)
    assert head == ["run", "state", "job", "step", "epoch", "images/s", "left", "ends", "why"]
    assert lines[0][:4] == [waiting, "pending", "1", "0/14075"]
    assert lines[0][-1] == "Priority"
    assert lines[1][:6] == [running, "running", "2", "5/900", "1/90", "4.0"]
    assert lines[2][:4] == ["c", "failed", "", "900/900"]
    assert lines[2][-1].endswith(r"rank 1: no\\x07 disk")
    assert len(slurm.calls_of("squeue")) == 1


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(("steps", "epochs"), [(4, "1/1"), (10, "1/1"), (11, "1/2")])
def test_a_part_of_an_epoch_is_one(steps: int, epochs: str) -> None:
    folder = RunFolder.create(Path("results"), "a", sample_plan(stop_after_steps=steps))
    folder.append(MetricsLine(step=1, epoch=1, seconds=1, learning_rate=0, step_seconds=2))
    assert read_cells(invoke().stdout)[1][3:5] == [f"1/{steps}", epochs]


def test_json_has_every_field(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1)
    slurm.queue("1 RUNNING", name="a")
    (found,) = json.loads(invoke("--json").stdout)
    assert (found["run"], found["state"], found["jobs"]) == (run, "running", ["1"])
    assert found["steps"] == 14075


@pytest.mark.parametrize("case", ["missing", "garbage", "refusing"])
def test_without_slurm_the_rest_is_shown(slurm: FakeSlurm, case: str) -> None:
    submit(slurm, "a", 1)
    begin("c", 3).close(sample_record(run_id="c"))
    if case == "garbage":
        slurm.answer("squeue", out="<html>")
    if case == "refusing":
        slurm.answer("squeue", err="slurm_load_jobs error: Unable to contact", exit_code=1)
    done = invoke()
    assert "the states of jobs are unknown: " in done.stderr
    assert [cells[1] for cells in read_cells(done.stdout)[1:]] == ["unknown", "completed"]


def test_runs_by_name(slurm: FakeSlurm) -> None:
    begin("a", 1)
    begin("b", 1)
    assert [cells[0] for cells in read_cells(invoke("b").stdout)] == ["run", "b"]
    for wrong in ("c", "../results/a", ""):
        with pytest.raises(InputError, match="RUN"):
            invoke(wrong)
    # No job is known, so nobody is asked.
    assert slurm.calls == []


def test_no_runs_and_no_folder(slurm: FakeSlurm) -> None:
    with pytest.raises(InputError, match="elsewhere"):
        invoke("--results", "elsewhere")
    done = invoke()
    assert (done.exit_code, done.stdout) == (0, "")
    assert "there are no runs" in done.stderr
    assert invoke("--json").stdout == "[]\n"
    Path("results").mkdir()
    done = invoke()
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no runs" in done.stderr
    assert json.loads(invoke("--json").stdout) == []
    assert slurm.calls == []


def test_watching_ends_with_the_last_run(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submit(slurm, "a", 1)
    slurm.queue("1 RUNNING", name="a")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        begin(run, 2).close(sample_record(run_id=run))

    # Not in the time module itself: whoever waits for squeue sleeps as well.
    monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=sleep, time=time.time))
    first, second = invoke("--watch").stdout.split("\n\n")
    assert [cells[:2] for cells in read_cells(first)[1:]] == [[run, "running"]]
    assert [cells[:2] for cells in read_cells(second)[1:]] == [[run, "completed"]]
    assert slept == [10]
    invoke("--watch", "3")
    with pytest.raises(InputError, match="--watch"):
        invoke("--watch", "--json")


def test_two_hundred_runs_take_less_than_a_second(tmp_path: Path) -> None:
    results = tmp_path / "results"
    first = RunFolder.create(results, "run-000", sample_plan())
    line = MetricsLine(step=1, epoch=1, seconds=1, learning_rate=0.1, loss=2.5, step_seconds=1)
    (first.path / METRICS_FILE).write_bytes((msgspec.json.encode(line) + b"\n") * 1000)
    for number in range(1, 200):
        shutil.copytree(first.path, results / f"run-{number:03}", copy_function=os.link)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_command("status", "--results", str(results))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(read_cells(done.stdout)) == 201
    # Processor time, which other programs on the machine do not change much.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def run_command(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        **options,
    )
