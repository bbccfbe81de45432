"""A job has the name that Slurm's commands take for it alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hvdtrain.runs.job_identity import JobIdentity, job_name_of, read_job_identity

PACKAGE = Path(__file__).resolve().parents[2] / "hvdtrain"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_ID": "4711"}, "4711"),
        # The first task of an array of four, and the last, which has the array's own number.
        (
            {"SLURM_JOB_ID": "4712", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "0"},
            "4711_0",
        ),
        (
            {"SLURM_JOB_ID": "4711", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"},
            "4711_3",
        ),
    ],
)
def test_the_name_of_a_job(environ: dict[str, str], name: str | None) -> None:
    assert job_name_of(environ) == name


@pytest.mark.parametrize(
    ("count", "restarts"), [(None, 0), ("0", 0), ("2", 2), ("", 0), ("-1", 0), ("two", 0)]
)
def test_how_often_it_was_started_again(count: str | None, restarts: int) -> None:
    environ = {"SLURM_JOB_ID": "7"} | ({} if count is None else {"SLURM_RESTART_COUNT": count})
    assert read_job_identity(environ) == JobIdentity(name="7", restarts=restarts)


def test_there_is_none_outside_slurm() -> None:
    assert read_job_identity({"SLURM_RESTART_COUNT": "1"}) is None


def test_no_other_module_reads_which_job_this_is() -> None:
    names = r"SLURM_(ARRAY_JOB_ID|ARRAY_TASK_ID|JOB_?ID|RESTART_COUNT)"
    reading = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and re.fullmatch(names, str(node.value)):
                reading.add(path.relative_to(PACKAGE).as_posix())
    # One names the variable to say that it is missing.
    assert reading == {"runs/job_identity.py", "commands/job/attempt.py"}
