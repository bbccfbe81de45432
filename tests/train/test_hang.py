"""A real rank that is stopped wherever ends all ranks in time, is named, and the run goes on."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.attempt import read_hang
from hvdtrain.runs.names import HANG_FILE, RECORD_FILE
from hvdtrain.runs.progress import read_run
from hvdtrain.runs.record import Record
from hvdtrain.runs.state import judge_run
from tests.ranks import find_ranks, run_ranks, start_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(600)]

LIMIT_SECONDS = 20.0

# `-c PROGRAM WHERE MARKER WORDS...`: rank 1 stops itself there, once, after step 10.
STOPS = """
import os, signal, sys, time
from pathlib import Path
from hvdtrain.stack import ensure_stack
ensure_stack()
where, marker = sys.argv[1], Path(sys.argv[2])
rank = os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]
def stop():
    if rank == "1" and not marker.exists():
        marker.touch()
        if where == "asleep":
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGSTOP)
def patch():
    from hvdtrain.train.loop import TrainingLoop
    from hvdtrain.train.run import Run
    kind, name = {
        "step": (TrainingLoop, "_run_step"),
        "asleep": (TrainingLoop, "_run_step"),
        "evaluation": (Run, "evaluate"),
        "checkpoint": (Run, "save"),
    }[where]
    usual = getattr(kind, name)
    def stopping(self, *arguments):
        state = self._state if kind is TrainingLoop else self.state
        begun = getattr(self, "_first_step", 0) + 1
        if state.step > max(10, begun) and where != "checkpoint":
            stop()
        made = usual(self, *arguments)
        if state.step > 10 and where == "checkpoint":
            stop()
        return made
    setattr(kind, name, stopping)
import hvdtrain.train.process.world as world
usual_join = world.join_world
def join(launch):
    joined = usual_join(launch)
    if where not in ("nowhere", "late"):
        patch()
    return joined
world.join_world = join
import hvdtrain.train.start as start
if where == "late" and rank == "1":
    start.JOIN_SECONDS = 30.0
    time.sleep(40)
from hvdtrain.cli.main import main
sys.argv = ["hvdtrain", *sys.argv[3:]]
main()
"""


def words(where: str, marker: Path, results: Path, command: str = "train") -> list[str]:
    made = ["-c", STOPS, where, str(marker), command, "--model", "small", "--image-size", "8"]
    made += ["--rank-batch", "4", "--images-per-epoch", "48", "--steps", "40"]
    made += ["--checkpoint-epochs", "1", "--evaluate-epochs", "1"]
    made += ["--hang-minutes", str(LIMIT_SECONDS / 60)]
    return [*made, "--results", str(results), "--run-id", "run"]


def hang(where: str, tmp_path: Path) -> str:
    """Let a run hang; returns what its first two ranks have said."""
    marker, out = tmp_path / where, tmp_path / f"out-{where}"
    running = start_ranks(words(where, marker, tmp_path / "results"), out)
    try:
        running.communicate(timeout=200)
        taken = time.time() - marker.stat().st_mtime
    finally:
        running.kill()
    said = "".join((out / f"{rank}.err").read_text() for rank in (0, 1))
    assert running.returncode not in (0, 2), said
    assert taken < LIMIT_SECONDS + 5, (taken, said)  # the launcher has to end, too
    assert find_ranks(str(tmp_path / "results")) == []
    assert "Traceback" not in said
    return said


def test_a_rank_that_hangs_is_named_and_the_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    run_ranks(words("nowhere", tmp_path / "none", calm), calm / "out", timeout_seconds=200)
    results = tmp_path / "results"
    for where, doing in (
        ("step", "the end of step 11"),
        ("evaluation", "the end of step 12"),
        ("checkpoint", "a checkpoint or snapshot after step "),
        ("asleep", "the end of step "),
    ):
        said = hang(where, tmp_path)
        state = "" if where == "asleep" else " (stopped by a signal)"
        assert re.search("hvdtrain: the run has not come further for 1[5-9] s: rank 1 on ", said)
        assert f"{state}: {doing}" in said
        assert said.count("has not come further") == 1
        reason = read_hang(results / "run")
        assert f"{state}: {doing}" in reason
        assert sorted(path.name for path in results.iterdir()) == ["run"]
        # Nothing says that another start would end in the same way.
        assert list((results / "run").glob(".failure-*")) == []
        facts = read_run(results / "run")
        assert facts is not None
        status = judge_run(facts, {}, time.time() + 3600)
        assert (status.state, status.reason) == ("incomplete", reason)
    marker = tmp_path / "step"
    run_ranks(words("step", marker, results), tmp_path / "out", timeout_seconds=200)
    assert not (results / "run" / HANG_FILE).exists()
    ended, expected = (load_json(f / "run" / RECORD_FILE, Record) for f in (results, calm))
    assert ended.weights_sha256 == expected.weights_sha256
    assert (ended.status, ended.steps) == ("completed", expected.steps)


def test_a_rank_that_loads_for_long_is_waited_for(tmp_path: Path) -> None:
    for command in ("preflight", "train"):
        late = words("late", tmp_path / "none", tmp_path / "results", command)
        if command == "preflight":
            late += ["--deadline", "35"]
        run_ranks(late, tmp_path / command, ranks=3, timeout_seconds=250)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["run"]
    assert load_json(tmp_path / "results" / "run" / RECORD_FILE, Record).status == "completed"
