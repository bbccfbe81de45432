"""A script whose run was decided before it had a number: chains, and jobs that come too late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.runs.folder import RunFolder
from hvdtrain.slurm.render import render_script
from tests.samples import sample_record
from tests.slurm.sandbox import make_program, run_script

RUN = "the-run"


@pytest.fixture
def script(tmp_path: Path) -> str:
    program = make_program(tmp_path / "opt" / "hvdtrain")
    plan = make_job(
        JobRequest(nodes=2, data="synthetic"),
        load_system("stampede2-knl"),
        ScriptOrigin(command="c", hvdtrain=str(program)),
    )
    return render_script(msgspec.structs.replace(plan, run_id=RUN))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    path = tmp_path / "work" / "results" / RUN
    path.mkdir(parents=True)
    return RunFolder(path)


def test_every_job_works_on_the_one_run(script: str, tmp_path: Path) -> None:
    for job in ("7", "8"):
        outcome = run_script(script, tmp_path, SLURM_JOB_ID=job)
        assert (outcome.exit_code, outcome.words[-2:]) == (0, ("--run-id", RUN))


@pytest.mark.parametrize(("status", "exit_code"), [("completed", 0), ("diverged", 1)])
def test_a_job_whose_run_has_ended_ends_at_once(
    script: str, folder: RunFolder, tmp_path: Path, status: Any, exit_code: int
) -> None:
    folder.close(sample_record(run_id=RUN, status=status))
    outcome = run_script(script, tmp_path)
    assert (outcome.exit_code, outcome.words) == (exit_code, ())
    assert f"the run {RUN} " in outcome.output


def test_a_job_goes_on_with_a_run_that_failed(
    script: str, folder: RunFolder, tmp_path: Path
) -> None:
    # Whatever the failure says, it is not the status.
    text = '\n  "status": "completed",\n'
    folder.close(sample_record(run_id=RUN, status="failed", failure=text))
    assert run_script(script, tmp_path).words[-2:] == ("--run-id", RUN)
