"""`hvdtrain cancel`: all jobs of a run, and nobody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.cancel import command
from hvdtrain.commands.status import command as status_command
from hvdtrain.commands.submit import command as submit_command
from hvdtrain.errors import InputError, RunError
from tests.slurm.fake import FakeSlurm, make_fake_slurm, queue_line


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    made = make_fake_slurm(tmp_path / "bin", monkeypatch)
    made.answer("scancel")
    return made


def invoke(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(command, words, input=answer, catch_exceptions=False)


def submit(slurm: FakeSlurm, name: str, first: int, chain: int = 1) -> str:
    slurm.accept(first)
    words = ["--nodes", "256", "--data", "/d", "--job-name", name, "--chain", str(chain)]
    CliRunner().invoke(submit_command, words, catch_exceptions=False)
    return next(run for run in os.listdir("results") if run.startswith(name))


def state_of(run: str) -> str:
    done = CliRunner().invoke(status_command, [run, "--json"], catch_exceptions=False)
    (found,) = json.loads(done.stdout)
    state: str = found["state"]
    return state


def test_the_whole_chain_goes_its_end_first(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1, chain=3)
    slurm.queue("1 COMPLETED", "2 RUNNING", "3 PENDING Dependency", name="a")
    done = invoke(run)
    assert slurm.calls_of("scancel") == [["3", "2"]]
    assert (
        done.stdout == f"2 of {run}: was running, cancelled\n3 of {run}: was pending, cancelled\n"
    )
    assert "1 is not in the queue" in done.stderr
    slurm.queue()
    assert state_of(run) == "cancelled"


def test_a_number_that_belongs_to_another_job_by_now_is_left_alone(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1)
    slurm.queue("1 RUNNING", name="thesis\x1b[2J")
    done = invoke(run)
    assert "another job now, called thesis\\x1b[2J: left alone" in done.stderr
    assert slurm.calls_of("scancel") == []
    # By its number it is what the user wants.
    assert invoke("1").stdout == "1: was running, cancelled\n"
    assert slurm.calls_of("scancel") == [["1"]]
    slurm.queue()
    assert state_of(run) == "lost"


def test_one_job_of_a_chain_leaves_the_others(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1, chain=2)
    slurm.queue("1 RUNNING", "2 PENDING Dependency", name="a")
    assert invoke("2").stdout == f"2 of {run}: was pending, cancelled\n"
    assert slurm.calls_of("scancel") == [["2"]]
    slurm.queue("1 RUNNING", name="a")
    assert state_of(run) == "running"
    invoke("1")
    slurm.queue()
    assert state_of(run) == "cancelled"


def test_programs_get_the_job_the_state_and_the_run(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1, chain=2)
    slurm.queue("1 RUNNING", "2 PENDING Dependency", name="a")
    assert json.loads(invoke("--json", run).stdout) == [
        {"job": "1", "state": "running", "run": run},
        {"job": "2", "state": "pending", "run": run},
    ]
    slurm.queue("9 RUNNING", name="another")
    assert json.loads(invoke("9", "--json").stdout) == [
        {"job": "9", "state": "running", "run": None}
    ]
    slurm.queue()
    assert json.loads(invoke(run, "--json").stdout) == []


def test_the_number_of_an_array_is_all_its_tasks(slurm: FakeSlurm) -> None:
    slurm.queue("5_0 RUNNING", "5_1 PENDING", "5_2 COMPLETED")
    invoke("5")
    invoke("5_1")
    assert slurm.calls_of("scancel") == [["5_1", "5_0"], ["5_1"]]


@pytest.mark.parametrize("wrong", ["no-such-run", "../x", "1x", "-1", "$(x)", "5_", "*"])
def test_what_is_neither_a_job_nor_a_run_cancels_nothing(slurm: FakeSlurm, wrong: str) -> None:
    run = submit(slurm, "a", 1)
    slurm.queue("1 RUNNING", name="a")
    with pytest.raises(InputError, match="RUN"):
        invoke("--", run, wrong)
    assert slurm.calls_of("scancel") == []


def test_all_is_asked_before(slurm: FakeSlurm) -> None:
    submit(slurm, "a", 1, chain=2)
    submit(slurm, "b", 3)
    # Somebody's other job; the second name is not asked for.
    slurm.queue("1 RUNNING", "2 PENDING", "9 RUNNING", name="a")
    for answer in ("n\n", ""):
        done = invoke("--all", answer=answer)
        assert "cancel 2 jobs?" in done.stderr
        assert done.exit_code == 1
    assert slurm.calls_of("scancel") == []
    invoke("--all", answer="y\n")
    invoke("--all", "--yes")
    assert slurm.calls_of("scancel") == [["2", "1"], ["2", "1"]]


@pytest.mark.parametrize("words", [(), ("--all", "1")])
def test_it_must_be_said_what(slurm: FakeSlurm, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="--all"):
        invoke(*words)
    assert slurm.calls == []


def test_a_run_of_which_no_job_is_known(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", out="?")
    with pytest.raises(RunError):
        CliRunner().invoke(
            submit_command, ["--nodes", "4", "--data", "/d", "--chain", "9"], catch_exceptions=False
        )
    (run,) = os.listdir("results")
    assert state_of(run) == "unclear"
    with pytest.raises(RunError, match="look for hvdtrain-stampede2-knl-4n-b128 in squeue"):
        invoke(run)


def test_a_refusal_of_scancel_is_passed_on_and_nothing_is_noted(slurm: FakeSlurm) -> None:
    run = submit(slurm, "a", 1)
    slurm.queue("1 RUNNING", name="a")
    slurm.answer("scancel", err="scancel: error: Access/permission denied", exit_code=1)
    with pytest.raises(RunError, match="Access/permission denied"):
        invoke(run)
    assert state_of(run) == "running"
    slurm.queue()
    assert state_of(run) == "lost"


def test_two_clusters_may_have_given_one_number(slurm: FakeSlurm) -> None:
    runs = {}
    for cluster in ("doduo", "victini"):
        slurm.answer("sbatch", out=f"77;{cluster}\n")
        words = ["--nodes", "256", "--data", "/d", "--job-name", cluster]
        CliRunner().invoke(submit_command, words, catch_exceptions=False)
        runs[cluster] = next(run for run in os.listdir("results") if run.startswith(cluster))
    answers = [
        f"[ $1 != --clusters={name} ] || "
        f"printf 'CLUSTER: {name}\n{queue_line('77 RUNNING', name)}\n'\n"
        for name in runs
    ]
    slurm.answer("squeue", action="".join(answers))
    assert [state_of(run) for run in runs.values()] == ["running", "running"]
    with pytest.raises(InputError, match="give the name of the run"):
        invoke("77")
    done = invoke(runs["victini"])
    assert done.stdout == f"77 of {runs['victini']}: was running, cancelled\n"
    assert slurm.calls_of("scancel") == [["--clusters=victini", "77"]]
    assert invoke("--all", "--yes").stdout.count("cancelled") == 2
    assert slurm.calls_of("scancel")[1:] == [
        ["--clusters=doduo", "77"],
        ["--clusters=victini", "77"],
    ]
