"""The script of an array: each task becomes the script of its run, whatever that is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hvdtrain.errors import InputError
from hvdtrain.slurm.array import render_array

HOSTILE = ("plain", "two words", "$(touch TRACE)", "a'b\"c", "`touch TRACE`;&", "é")


def test_each_task_runs_its_script_and_nothing_else(tmp_path: Path) -> None:
    paths: list[Path] = []
    for name in HOSTILE:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "job.sh").write_text(f"echo {len(paths)} $$ $SLURM_JOB_ID\nexit {len(paths)}\n")
        paths.append(folder / "job.sh")
    script = render_array("hvdtrain $(touch TRACE)", {"nodes": "2", "comment": "a b"}, paths)
    assert script.startswith('#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --comment="a b"\n')
    work = tmp_path / "work"
    work.mkdir()
    for task in range(len(paths) + 1):
        started = subprocess.Popen(
            ["bash", "-s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=work,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "7"},
        )
        out, error = started.communicate(script, timeout=30)
        if task == len(paths):
            assert started.returncode == 1
            assert "no task" in error
        else:
            # The same process: a signal for the job's shell reaches the run's script.
            assert out == f"{task} {started.pid} 7\n"
            assert started.returncode == task
    assert list(work.iterdir()) == []


def test_a_path_of_two_lines_is_refused() -> None:
    with pytest.raises(InputError):
        render_array("c", {}, [Path("/a\nb/job.sh")])
