"""A rank that hangs is ended and named, whatever it hangs in; one that works is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# `-c PROGRAM RANK RANKS FOLDER SECONDS`: a rank without TensorFlow and MPI.
START = """
import ctypes, os, signal, sys, time
from pathlib import Path
from hvdtrain.train.health import guard
from hvdtrain.train.health.guard import Duty
from hvdtrain.train.health.watchdog import start_watchdog
# Under nohup it is ignored, and so it is by what that starts.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
guard._CHECK_SECONDS = 0.2
rank, ranks, folder, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
def tell(text):
    with open(folder + "/said", "a") as file:
        file.write(text + "\\n")
dog = start_watchdog(Duty(
    rank=rank, ranks=ranks, host=f"n{rank}", folder=Path(folder) / "notes" if ranks > 1 else None,
    seconds=seconds, tell=tell, abort=lambda: None,
))
hosts = [f"n{number}" for number in range(ranks)]
"""
# Unlike CDLL, this one keeps Python's lock while it waits.
HANG = "ctypes.PyDLL(None).sleep(120)\n"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)\n"


def start(code: str, folder: Path, seconds: float, ranks: int = 1) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", START + code, str(rank), str(ranks), str(folder), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def finish(running: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """Exit codes, and what all have written to standard error."""
    try:
        errors = [each.communicate(timeout=60)[1] for each in running]
    finally:
        for each in running:
            each.kill()
    return [each.returncode for each in running], "".join(errors)


def said(folder: Path) -> str:
    path = folder / "said"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("hang", "exit_code", "state"),
    [(HANG, 1, ""), (STOP, -9, " (stopped by a signal)"), ("time.sleep(120)\n", 1, "")],
)
def test_a_process_that_hangs_is_ended(
    hang: str, exit_code: int, state: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    codes, errors = finish(start("dog.watch('step 3')\n" + hang, tmp_path, 1.0))
    assert time.monotonic() - started < 50
    # A stopped process takes the signal for a clean end as soon as it is killed.
    assert (codes[0] in (1, exit_code), errors) == (True, "")
    assert said(tmp_path) == f"has not come further for 1 s: rank 0 on n0{state}: step 3\n"


def test_a_process_that_ends_takes_its_watchdog_along(tmp_path: Path) -> None:
    # The watchdog holds the output open: this would wait for it until the time is up.
    (running,) = start("print('done', flush=True)\nos._exit(7)\n", tmp_path, 3600)
    assert running.communicate(timeout=60) == ("done\n", "")
    assert (running.returncode, said(tmp_path)) == (7, "")


def test_one_of_three_that_is_stopped_is_named_by_one_of_them(tmp_path: Path) -> None:
    code = "dog.joined(hosts)\ndog.watch('step 3')\n" + f"if rank == 1: {STOP}time.sleep(120)\n"
    codes, errors = finish(start(code, tmp_path, 3.0, ranks=3))
    assert errors == ""
    assert 0 not in codes
    assert said(tmp_path).count("\n") == 1
    assert said(tmp_path).endswith("rank 1 on n1 (stopped by a signal): step 3\n")
    assert not (tmp_path / "notes").exists()


def test_one_that_sleeps_where_it_waits_for_nobody_is_named(tmp_path: Path) -> None:
    code = "dog.joined(hosts)\ndog.watch('the images', alone=True)\nif rank == 2: time.sleep(120)\n"
    codes, _ = finish(start(code + "dog.watch('the update')\ntime.sleep(120)\n", tmp_path, 3.0, 3))
    assert 0 not in codes
    assert said(tmp_path).endswith("rank 2 on n2: the images\n")


def test_a_rank_that_is_late_is_waited_for(tmp_path: Path) -> None:
    code = (
        "dog.load(60)\nif rank == 1: time.sleep(3)\ndog.join(60, 1.5)\n"
        # MPI: nobody goes on before all are there.
        "while len(list(Path(folder).glob('here-*'))) < ranks:\n"
        "    Path(folder, f'here-{rank}').touch(); time.sleep(0.05)\n"
        "dog.joined(hosts)\ndog.watch('step 1')\ndog.rest()\n"
    )
    assert finish(start(code, tmp_path, 60, ranks=3)) == ([0, 0, 0], "")
    assert said(tmp_path) == ""


def test_the_time_of_all_counts_from_the_last(tmp_path: Path) -> None:
    code = "dog.load(60)\nif rank == 1: time.sleep(2)\ndog.join(60, 1.5)\ntime.sleep(120)\n"
    started = time.monotonic()
    codes, _ = finish(start(code, tmp_path, 60, ranks=2))
    assert 0 not in codes
    assert 3.5 < time.monotonic() - started < 50
    assert "did not start within 2 s: all 2 ranks are at the same point: starting MPI" in said(
        tmp_path
    )


def test_ranks_that_join_at_once_have_the_limit_of_all(tmp_path: Path) -> None:
    """Before their watchdogs have looked whether all are ready, every 2 s."""
    code = (
        "dog.load(60)\ndog.join(60, 3)\ndog.go_on('starting Horovod')\ndog.joined(hosts)\n"
        f"dog.go_on('the sums')\nif rank == 1: {STOP}time.sleep(120)\n"
    )
    begin = time.monotonic()
    codes, text = finish(start(code, tmp_path, 60, ranks=3))
    assert time.monotonic() - begin < 20
    assert 0 not in codes, text
    assert "rank 1 on n1 (stopped by a signal): the sums" in said(tmp_path)


def test_a_rank_that_never_comes_is_named_with_its_host(tmp_path: Path) -> None:
    code = "dog.load(3)\nif rank == 1: time.sleep(120)\ndog.join(3, 60)\ntime.sleep(120)\n"
    codes, _ = finish(start(code, tmp_path, 60, ranks=3))
    assert 0 not in codes
    assert "1 of 3 ranks are not ready: 1 on n1: loading TensorFlow" in said(tmp_path)


# HVDTRAIN_CALM=200: what `make torture` does.
CALM = int(os.environ.get("HVDTRAIN_CALM", "2"))


@pytest.mark.timeout(60 + 20 * CALM)
def test_no_alarm_while_every_step_is_in_time(tmp_path: Path) -> None:
    """Runs with steps of up to a third of the limit, a slow first one, and a long evaluation."""
    code = (
        "import random\ndog.joined(hosts)\ndog.watch('step 1', 6.0)\ntime.sleep(3)\n"
        "for step in range(2, 9):\n"
        "    dog.watch(f'the images of step {step}', alone=True); time.sleep(random.random() / 3)\n"
        "    dog.watch(f'the update of step {step}'); time.sleep(random.random() / 3)\n"
        "for _ in dog.over(range(20), 'the evaluation'): time.sleep(0.15)\n"
        "time.sleep(2)\ndog.watch('the end')\ndog.rest()\n"
    )
    for number in range(CALM):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert finish(start(code, folder, 2.0, ranks=2)) == ([0, 0], "")
        assert said(folder) == ""
