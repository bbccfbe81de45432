"""Real ranks look at each other: all is well, and each thing that can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hvdtrain.plan.machine.environment import COMM_CPUS, COMPUTE_CPUS, DATA_CPUS, HOROVOD_CPUS
from hvdtrain.runs.names import HANG_FILE, PREFLIGHT_FILE
from hvdtrain.runs.preflight import Preflight
from tests.ranks import ROOT, run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(400)]

# Says something else on every rank: `-c RANK_PROGRAM WORDS...`.
RANK_PROGRAM = """
import os, sys, time
from hvdtrain.cli.main import main
import hvdtrain.train.start as start
rank = os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]
if "absent" in sys.argv and rank == "1":
    time.sleep(600)
if "absent" in sys.argv:
    start.START_SECONDS = 29.0
sys.argv = ["hvdtrain", *(word.format(rank=rank) for word in sys.argv[1:] if word != "absent")]
main()
"""


def preflight_words(results: Path, *more: str, deadline: int = 300) -> list[str]:
    words = ["-c", RANK_PROGRAM, "preflight", "--model", "small", "--rank-batch", "4", "--json"]
    words += ["--deadline", str(deadline), "--results", str(results), "--run-id", "run"]
    return [*words, *more]


def core_map(first: int, second: int) -> dict[str, str]:
    """One core for each of two ranks, shared by all that they do."""
    cores = f"{first}:{second}"
    return {
        COMPUTE_CPUS: cores,
        COMM_CPUS: ":",
        HOROVOD_CPUS: cores,
        DATA_CPUS: cores,
        "HOROVOD_THREAD_AFFINITY": f"{first},{second}",
    }


def usable_cpus() -> tuple[int, int]:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("two ranks need two processors to be apart")
    return cpus[0], cpus[1]


def read_report(results: Path) -> Preflight:
    return msgspec.json.decode((results / "run" / PREFLIGHT_FILE).read_bytes(), type=Preflight)


def faults(report: Preflight) -> dict[str, str]:
    return {fault.check: fault.text for fault in report.faults}


def test_two_good_ranks(tmp_path: Path) -> None:
    cpus = usable_cpus()
    words = preflight_words(tmp_path, "--nodes", "1", "--ranks-per-node", "2")
    out = run_ranks(words, tmp_path / "out", variables=core_map(*cpus), timeout_seconds=350)
    report = read_report(tmp_path)
    assert msgspec.json.decode(out[0], type=Preflight) == report
    assert out[1] == ""
    assert (report.ranks, report.reduction, report.faults) == (2, "MPI", ())
    assert report.attested
    assert [place.compute for place in report.placement] == [str(cpu) for cpu in cpus]
    assert [place.horovod for place in report.placement] == [str(cpu) for cpu in cpus]
    assert report.allreduce[0].bytes == 4096
    assert report.allreduce[-1].bytes == 100 * 2**20
    assert len(report.nodes) == 1
    assert (report.slow, report.exclude) == ((), "")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_setting_that_puts_two_ranks_on_one_core_stops_the_job(tmp_path: Path) -> None:
    first, second = usable_cpus()
    variables = core_map(first, second) | {"HOROVOD_THREAD_AFFINITY": f"{first},{first}"}
    words = preflight_words(tmp_path)
    run_ranks(words, tmp_path / "out", variables=variables, timeout_seconds=350, expected_exit=1)
    found = faults(read_report(tmp_path))
    assert list(found) == ["affinity"]
    assert f"ranks 0, 1 share core {first} on " in found["affinity"]
    assert f"Horovod's thread may run on {first}, the plan has {second}" in found["affinity"]
    said = (tmp_path / "out" / "0.err").read_text()
    assert "--no-attest" in said
    assert "preflight: no training" in said


def test_another_plan_on_one_rank_stops_the_job(tmp_path: Path) -> None:
    first, second = usable_cpus()
    variables = core_map(first, second) | {"HOROVOD_THREAD_AFFINITY": f"{first},{first}"}
    words = preflight_words(tmp_path, "--seed", "{rank}", "--no-attest")
    run_ranks(words, tmp_path / "out", variables=variables, timeout_seconds=350, expected_exit=1)
    report = read_report(tmp_path)
    # The shared core is let pass: the user wanted it so.
    assert list(faults(report)) == ["plan"]
    assert "rank 1 on " in faults(report)["plan"]
    assert not report.attested


def test_a_rank_that_never_comes_is_named(tmp_path: Path) -> None:
    words = preflight_words(tmp_path, "absent", deadline=10)
    run_ranks(words, tmp_path / "out", timeout_seconds=100, expected_exit=1)
    said = (tmp_path / "out" / "0.err").read_text()
    assert "the preflight did not start within 30 s: 1 of 2 ranks did not start: 1\n" in said
    assert "this is no verdict on the nodes" in said
    # The job's script looks for this, and starts the job again.
    assert [path.name for path in (tmp_path / "run").iterdir()] == [HANG_FILE]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_that_are_each_alone_are_found_out(tmp_path: Path, rank: int) -> None:
    """The launcher of another MPI: its variables are there and our MPI sees one rank."""
    environ: dict[str, Any] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PMI")},
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
    }
    ended = subprocess.run(
        [sys.executable, *preflight_words(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    # All of them see it and one says it.
    assert ("every process would train alone" in ended.stderr) is (rank == 0)


def test_wrong_input_is_said_once(tmp_path: Path) -> None:
    words = preflight_words(tmp_path, "--data", str(tmp_path / "nowhere"))
    out = run_ranks(words, tmp_path / "out", timeout_seconds=350, expected_exit=2)
    assert out == ["", ""]
    said = [(tmp_path / "out" / f"{rank}.err").read_text() for rank in (0, 1)]
    assert ["nowhere" in text for text in said] == [True, False]
