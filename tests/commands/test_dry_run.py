"""The dry run: what a new user sees first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.commands.dry_run import check_exit
from hvdtrain.errors import RunError
from tests.ranks import ROOT


def dry_run(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", "dry-run", "--results", str(results), *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.tf
@pytest.mark.ranks
@pytest.mark.timeout(300)
def test_a_dry_run_trains_pinned_ranks_and_says_where_they_sat(tmp_path: Path) -> None:
    words = ("--model", "small", "--batch", "8", "--accumulate", "2", "--steps", "5", "--json")
    ended = dry_run(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert (record["plan"]["rank_batch"], record["plan"]["accumulate"]) == (8, 2)
    assert (record["kind"], record["status"], record["steps"]) == ("synthetic", "completed", 5)
    ranks = min(2, len(os.sched_getaffinity(0)))
    assert record["plan"]["ranks_per_node"] == ranks
    compute = [place["compute"] for place in record["placement"]]
    assert len(compute) == len(set(compute)) == ranks
    assert "record:" in ended.stderr


@pytest.mark.tf
@pytest.mark.ranks
@pytest.mark.timeout(300)
def test_the_table_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    ended = dry_run(tmp_path, "--model", "small", "--batch", "4", "--steps", "4", "--ranks", "1")
    assert ended.returncode == 0, ended.stderr
    assert "images/s per rank" in ended.stdout
    assert "thread placement" in ended.stdout
    assert "step 4/4" not in ended.stdout
    assert "step 4/4" in ended.stderr
    assert "backend is loaded" not in ended.stderr  # Intel's extension, once for each rank


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (85, "interrupted: its folder holds a checkpoint"),
        (-2, "interrupted: its folder holds a checkpoint"),
        (1, "exit code 1"),
    ],
)
def test_ranks_that_do_not_end_well_are_told_apart(exit_code: int, said: str) -> None:
    with pytest.raises(RunError, match=said):
        check_exit(exit_code)


def test_ranks_that_refused_the_input_have_said_why() -> None:
    check_exit(0)
    with pytest.raises(SystemExit) as ended:
        check_exit(2)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--steps", "3", "--epochs", "1"), "--steps"),
        (("--ranks", "4000"), "--ranks: 4000"),
        (("--comm-cores", "4000"), "--comm-cores"),
        (("--ranks", "0"), "--ranks"),
    ],
)
def test_wrong_input_ends_before_any_rank_starts(
    tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    ended = dry_run(tmp_path, *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
    assert list(tmp_path.iterdir()) == []
