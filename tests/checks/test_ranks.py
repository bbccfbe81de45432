from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import pytest

from hvdtrain.checks.check import Status
from hvdtrain.checks.ranks import (
    Answer,
    ask,
    check_allreduce,
    check_horovod,
    check_mpi,
    check_tensorflow,
    judge_allreduce,
    judge_horovod,
)


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (Answer("2 3.0 3.0\n2 3.0 3.0"), "ok", "right on 2 ranks"),
        # The classic silent fault: as many trainings as ranks, each alone.
        (Answer("1 1.0 1.0\n1 1.0 1.0"), "fail", "runs alone: it belongs to another MPI"),
        (Answer("2 3.0 3.0"), "fail", "wrong: '2 3.0 3.0'"),
        (Answer("2 3.0 2.0\n2 3.0 3.0"), "fail", "wrong:"),
        (Answer("2 3.0 3.0\n2 3.0 3.0", "ended by SIGSEGV"), "fail", "ended by SIGSEGV"),
        (Answer("", "no answer within 90 s"), "fail", "no answer within 90 s"),
    ],
)
def test_both_ranks_must_say_the_right_sum(answer: Answer, status: Status, detail: str) -> None:
    check = judge_allreduce("allreduce MPI", answer, "/venv/bin/mpirun")
    assert check.status == status
    assert detail in check.detail
    assert bool(check.fix) is (status == "fail")


@pytest.mark.parametrize(
    ("backends", "status"),
    [
        (["MPI", "Gloo", "oneCCL"], "ok"),
        (["MPI", "Gloo"], "warn"),
        (["Gloo"], "fail"),
        ([], "fail"),
    ],
)
def test_the_back_ends_of_horovod(backends: Sequence[str], status: Status) -> None:
    check = judge_horovod("0.28.1", backends)
    assert check.status == status
    assert check.detail.startswith("0.28.1 with ")
    assert bool(check.fix) is (status != "ok")


@pytest.mark.parametrize(
    ("program", "said", "fault"),
    [
        ("print('hello')", "hello", ""),
        ("raise ValueError('no\\nluck')", "", "exit 1: luck"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "", "ended by SIGILL"),
    ],
)
def test_a_crash_is_an_answer_on_one_line(program: str, said: str, fault: str) -> None:
    assert ask([sys.executable, "-c", program], os.environ, 30) == Answer(said, fault)


def test_a_process_that_hangs_is_ended_with_its_children() -> None:
    program = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    started = time.monotonic()
    answer = ask([sys.executable, "-c", program], os.environ, 1)
    assert answer.fault == "no answer within 1 s"
    # A child left alive would hold the pipe open, and the answer would not come.
    assert time.monotonic() - started < 20


@pytest.mark.tf
def test_tensorflow_answers() -> None:
    assert check_tensorflow().status == "ok"


@pytest.mark.ranks
def test_the_mpi_library_names_itself() -> None:
    check = check_mpi()
    assert check.status == "ok"
    assert "MPI" in check.detail


@pytest.mark.ranks
def test_horovod_has_mpi() -> None:
    assert "MPI" in check_horovod().detail


@pytest.mark.ranks
@pytest.mark.parametrize("backend", ["MPI", "CCL"])
def test_two_ranks_sum_right(backend: str) -> None:
    if backend == "CCL" and "oneCCL" not in check_horovod().detail:
        pytest.skip("Horovod was built without oneCCL")
    assert check_allreduce(backend).status == "ok"
