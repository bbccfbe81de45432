"""A rank that hangs inside MPI holds Python's lock, and must be ended all the same."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

START = """
import ctypes, os
from pathlib import Path
from hvdtrain.train.preflight.watchdog import start_watchdog
start_watchdog({seconds}, lambda: Path({said!r}).touch(), lambda: None)
"""
# Unlike CDLL, this one keeps Python's lock while it waits.
HANG = "ctypes.PyDLL(None).sleep(120)\n"


def run(code: str, seconds: float, said: Path) -> subprocess.CompletedProcess[str]:
    program = START.format(seconds=seconds, said=str(said)) + code
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_that_hangs_ends_with_exit_code_1(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run(HANG, 0.5, tmp_path / "said").returncode == 1
    assert time.monotonic() - started < 50
    assert (tmp_path / "said").exists()


def test_a_process_that_ends_takes_its_watchdog_along(tmp_path: Path) -> None:
    # The watchdog holds the output open: run() would wait for it until the time is up.
    ended = run("print('done', flush=True)\nos._exit(7)\n", 3600, tmp_path / "said")
    assert (ended.returncode, ended.stdout) == (7, "done\n")
    assert not (tmp_path / "said").exists()
