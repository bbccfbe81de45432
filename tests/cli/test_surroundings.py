"""Full and closed streams, and a working folder that is gone: one line, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HVDTRAIN = f"{sys.executable} -m hvdtrain"
ROOT = Path(__file__).resolve().parents[2]


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        "render-job --nodes 4",
        "systems",
        "cores --system stampede2-skx",
        "collect {results}",
        "--help",
    ],
)
def test_a_full_standard_output_is_said(words: str, tmp_path: Path) -> None:
    done = shell(f"{HVDTRAIN} {words.format(results=tmp_path)} >/dev/full", tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last == "hvdtrain: the standard output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 1


def test_a_full_standard_error_ends_the_command(tmp_path: Path) -> None:
    done = shell(f"{HVDTRAIN} render-job --nodes x 2>/dev/full", tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode != 0


def test_notes_do_not_go_to_the_standard_output_where_the_standard_error_is_closed(
    tmp_path: Path,
) -> None:
    words = "render-job --nodes 4"
    whole = shell(f"{HVDTRAIN} {words}", tmp_path)
    assert whole.stderr, "there is a note"
    done = shell(f"{HVDTRAIN} {words} 2>&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == whole.stdout


def test_a_closed_standard_output_is_no_error(tmp_path: Path) -> None:
    done = shell(f"{HVDTRAIN} systems >&- <&-", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    done = shell(f"{HVDTRAIN} render-job --nodes 4 2>/dev/null | head -n 1", tmp_path)
    assert (done.stdout, done.stderr) == ("#!/bin/bash\n", "")


def test_a_working_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && {HVDTRAIN} submit --nodes 4 --dry-run"
    done = shell(line, tmp_path)
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last == "hvdtrain: the working folder has been removed: cd to one that exists"
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
