from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from hvdtrain.checks.check import Check
from hvdtrain.commands import doctor

OK = Check("python", "ok", "3.11.7 in /venv")
WARN = Check("slurm", "warn", "sbatch not found", "submit from a login node")
FAIL = Check("/dev/shm", "fail", "0.06 GB free", "docker run --shm-size=2g")


def with_checks(*checks: Check) -> Callable[[], Iterator[Check]]:
    return lambda: iter(checks)


def test_a_line_each_and_a_fix_for_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_checks", with_checks(OK, WARN, FAIL))
    result = CliRunner().invoke(doctor.command)
    assert result.stdout.splitlines() == [
        "ok       python         3.11.7 in /venv",
        "warn     slurm          sbatch not found",
        "                        fix: submit from a login node",
        "fail     /dev/shm       0.06 GB free",
        "                        fix: docker run --shm-size=2g",
    ]
    assert result.exit_code == 1


def test_warnings_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_checks", with_checks(OK, WARN))
    assert CliRunner().invoke(doctor.command).exit_code == 0


def test_json_is_the_same_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "run_checks", with_checks(OK, FAIL))
    result = CliRunner().invoke(doctor.command, ["--json"])
    assert json.loads(result.stdout) == [
        {"name": "python", "status": "ok", "detail": "3.11.7 in /venv", "fix": ""},
        {
            "name": "/dev/shm",
            "status": "fail",
            "detail": "0.06 GB free",
            "fix": "docker run --shm-size=2g",
        },
    ]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("horovod", "statuses"),
    [
        (Check("horovod", "ok", ""), ["ok", "ok"]),
        (Check("horovod", "warn", ""), ["ok", "skipped"]),
        (Check("horovod", "fail", ""), ["skipped", "skipped"]),
    ],
)
def test_ranks_are_started_only_for_back_ends_that_are_there(
    monkeypatch: pytest.MonkeyPatch, horovod: Check, statuses: list[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", ())
    monkeypatch.setattr(doctor, "check_horovod", lambda: horovod)
    monkeypatch.setattr(doctor, "check_allreduce", lambda backend: Check(backend, "ok", ""))
    first, *allreduces = doctor.run_checks()
    assert first == horovod
    assert [check.status for check in allreduces] == statuses


def test_the_doctor_itself_loads_no_training_stack() -> None:
    program = "import sys, hvdtrain.commands.doctor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"tensorflow", "horovod", "mpi4py", "numpy"} & set(done.stdout.split())


@pytest.mark.ranks
def test_this_installation_is_sound() -> None:
    """The machine may be short of memory or Slurm; the installation has no excuse."""
    done = subprocess.run(
        [sys.executable, "-m", "hvdtrain", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert len(checks) == 15
    installed = ("python", "packages", "tensorflow", "mpi", "horovod", "allreduce MPI")
    assert {name: checks[name]["status"] for name in installed} == dict.fromkeys(installed, "ok")
