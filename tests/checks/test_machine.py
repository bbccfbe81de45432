from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvdtrain.checks.check import Status
from hvdtrain.checks.machine import (
    SLURM_TOOLS,
    check_shared_memory,
    check_slurm,
    judge_cores,
    judge_memory,
    judge_shared_memory,
)
from hvdtrain.plan.machine.topology import parse_lscpu

# Two sockets of two cores with two hardware threads each.
LSCPU = "# CPU,Core,Socket,Node\n" + "".join(
    f"{cpu},{cpu % 4},{cpu % 2},{cpu % 2}\n" for cpu in range(8)
)
MEMINFO = "MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"


def test_cores_as_sockets_cores_and_threads() -> None:
    assert judge_cores(parse_lscpu(LSCPU), 8).detail == "2 x 2 cores x 2 hardware threads"
    part = judge_cores(parse_lscpu(LSCPU, allowed={0, 4, 1, 5}), 8)
    assert part.detail.startswith("2 x 1 cores x 2 hardware threads; this process may use 4 of 8")


@pytest.mark.parametrize(
    ("available_kb", "status", "detail"),
    [
        (90_000_000, "ok", "92.2 GB of 98.3 GB free"),
        (5_000_000, "warn", "5.1 GB of 98.3 GB free"),
        (1_000_000, "fail", "1.0 GB of 98.3 GB free"),
    ],
)
def test_memory_that_is_available(available_kb: int, status: Status, detail: str) -> None:
    check = judge_memory(MEMINFO.format(total=96_000_000, available=available_kb))
    assert (check.status, check.detail) == (status, detail)
    assert bool(check.fix) is (status != "ok")


@pytest.mark.parametrize(
    ("free_gb", "status"), [(0.0, "fail"), (0.064, "fail"), (0.5, "warn"), (8.0, "ok")]
)
def test_shared_memory_of_a_container(free_gb: float, status: Status) -> None:
    check = judge_shared_memory("/dev/shm", free_gb, max(free_gb, 0.064))
    assert check.status == status
    assert ("--shm-size" in check.fix) is (status != "ok")


def test_no_shared_memory_at_all(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path / "shm").status == "fail"


def test_without_slurm_only_submitting_is_out_of_reach() -> None:
    check = check_slurm(lambda tool: None if tool == "scancel" else f"/usr/bin/{tool}")
    assert check.status == "warn"
    assert check.detail.startswith("scancel not found")


@pytest.mark.parametrize(
    ("program", "status", "detail"),
    [
        ("echo slurm 22.05.8", "ok", "slurm 22.05.8"),
        ("printf 'sbatch: no config\\nsbatch: fatal\\n' >&2; exit 1", "warn", "sbatch: no config"),
    ],
)
def test_slurm_answers_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, status: Status, detail: str
) -> None:
    for tool in SLURM_TOOLS:
        (tmp_path / tool).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    check = check_slurm()
    assert check.status == status
    assert check.detail.endswith(detail)
