"""A rendered script, really run, stages its data, finds them again, and removes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.slurm.render import render_script
from tests.slurm.sandbox import make_program, run_script

pytestmark = pytest.mark.slow

SHARD = "train-00000-of-00001"
VALIDATION_SHARD = "validation-00000-of-00001"
RUN = "hvdtrain-stampede2-knl-2n-b64-7"


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "in").mkdir()
    (tmp_path / "ram").mkdir()
    for name in (SHARD, VALIDATION_SHARD):
        (tmp_path / "in" / name).write_text("images")
    return make_script(tmp_path)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return tmp_path / "ram" / f"hvdtrain-{os.getuid()}-{RUN}"


def make_script(folder: Path, stage_by: str = "parallel-read") -> str:
    system = load_system("stampede2-knl")
    assert system.slurm is not None
    system = msgspec.structs.replace(
        system,
        node=msgspec.structs.replace(system.node, staging=str(folder / "ram")),
        slurm=msgspec.structs.replace(system.slurm, stage_by=stage_by),
    )
    program = make_program(folder / "opt" / "hvdtrain", stages=True)
    request = JobRequest(nodes=2, data=str(folder / "in"))
    return render_script(
        make_job(request, system, ScriptOrigin(command="c", hvdtrain=str(program)))
    )


def test_what_a_start_left_on_nodes_that_it_lost_is_found_and_repaired(
    script: str, staged: Path, tmp_path: Path
) -> None:
    first = run_script(script, tmp_path, TRAIN_EXIT="85", LOST="yes")
    assert first.exit_code == 85, first.output
    assert "may be left on some nodes" in first.output
    assert (first.record / "mode").read_text() == "700\n"
    assert (staged / "data" / SHARD).read_text() == "images"
    (staged / "data" / SHARD).write_text("damage")
    (first.record / "data" / SHARD).unlink()
    second = run_script(script, tmp_path, SLURM_RESTART_COUNT="1")
    assert second.exit_code == 0, second.output
    assert second.words[-6:-4] == ("--data", str(staged / "data"))
    assert (second.record / "data" / "data" / SHARD).read_text() == "images"
    assert list(staged.parent.iterdir()) == []


def test_data_that_is_not_there_stops_the_job_before_the_ranks(script: str, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "in")
    outcome = run_script(script, tmp_path)
    assert (outcome.exit_code, outcome.words) == (2, ())
    assert "in' is not possible: a folder with train/ and val/" in outcome.output


def test_a_link_that_someone_planted_stops_the_job_and_stays(
    script: str, staged: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    staged.symlink_to(elsewhere)
    outcome = run_script(script, tmp_path)
    assert (outcome.exit_code, outcome.words) == (1, ())
    assert "it is a link" in outcome.output
    assert "may be left on some nodes" in outcome.output
    assert staged.is_symlink()
    assert list(elsewhere.iterdir()) == []


def test_slurm_sends_the_large_files_where_the_system_file_says_so(
    script: str, staged: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / SHARD).write_bytes(bytes(8_000_000))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "sbcast").write_text('#!/bin/bash\ncp -- "$2" "$3"\n')
    (tmp_path / "tools" / "sbcast").chmod(0o755)
    script = make_script(tmp_path, "sbcast")
    first = run_script(script, tmp_path, TRAIN_EXIT="85", LOST="yes")
    assert first.exit_code == 85, first.output
    assert "1 files sent to every node" in first.output
    assert "of them 1 files that were here before" in first.output
    second = run_script(script, tmp_path, SLURM_RESTART_COUNT="1")
    assert second.exit_code == 0, second.output
    assert "are as they were copied" in second.output
    assert "sent to every node" not in second.output
    assert not staged.exists()
