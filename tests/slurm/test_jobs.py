"""Jobs that run: as tasks of an array, from inside of each other, and ended by all that Slurm has.

The ranks are scripts of the test; Slurm, the job's script and what it asks of hvdtrain are real.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.slurm.login import PROGRAM, Login
from tests.slurm.nodes import Nodes

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

SYNTHETIC = ("--data", "synthetic")


@pytest.fixture
def login(nodes: Nodes, tmp_path: Path) -> Login:
    return Login(nodes, tmp_path)


def test_a_task_that_requeues_itself_leaves_the_other_tasks_alone(login: Login) -> None:
    # The last task has the number of the whole array as its own.
    login.ranks_do(
        'echo "$SLURM_ARRAY_TASK_ID" >>"$TEST_FOLDER/starts"\n'
        '[ "$SLURM_JOB_ID" = "$SLURM_ARRAY_JOB_ID" ] || exec sleep 8\n'
        'sleep 3; [ "${SLURM_RESTART_COUNT:-0}" != 0 ] || exit 85\n'
    )
    (login.folder / "rows.toml").write_text('name = "rows"\n[vary]\nepochs = [1, 2, 3, 4]\n')
    lines = login.hvdtrain("sweep", "rows.toml", *login.words, *SYNTHETIC).splitlines()
    jobs = [line.split()[1] for line in lines]
    ends = [login.nodes.wait_for_end(job) for job in jobs]
    assert [end["JobState"] for end in ends] == ["COMPLETED"] * 4
    assert sorted(end["Restarts"] for end in ends) == ["0", "0", "0", "1"]
    starts = (login.folder / "starts").read_text().split()
    assert sorted(starts) == sorted([*"0123", next(s for s in "0123" if starts.count(s) == 2)])


# A task of an array, with memory for each core and a hint, as if in a step that is bound to a core.
OUTER = """#!/bin/bash
#SBATCH --nodes=1 --ntasks-per-node=2 --cpus-per-task=2 --mem-per-cpu=20 --hint=nomultithread
#SBATCH --array=1-2 --time=5 --output=outer-%a.out
[ "$SLURM_ARRAY_TASK_ID" = 1 ] || exit 0
export SLURM_CPU_BIND=quiet,mask_cpu:0x1 PMI_RANK=1
"""


@pytest.mark.parametrize("how", ["submit", "render-job | sbatch"])
def test_a_job_may_be_submitted_from_inside_another_one(login: Login, how: str) -> None:
    login.ranks_do('env | sort >"$TEST_FOLDER/environ"\n')
    command, pipe, sbatch = how.partition(" | ")
    # The outer job has memory for each core, this one a part of the node's.
    words = shlex.join([str(PROGRAM), command, *login.words, *SYNTHETIC, "--set", "mem=100"])
    outer = login.run("sbatch", "--parsable", given=f"{OUTER}{words}{pipe}{sbatch}\n").strip()
    ended = login.nodes.wait_for_end(f"{outer}_1")
    output = login.nodes.output(f"{outer}_1")
    assert ended["JobState"] == "COMPLETED", output
    (job,) = re.findall(r"^(?:Submitted batch job )?(\d+)$", output, re.MULTILINE)
    shown = login.nodes.wait_for_end(job)
    assert shown["JobState"] == "COMPLETED", login.nodes.output(job)
    (run,) = (login.folder / "results").iterdir()
    assert command == "submit" or run.name.endswith(f"-{job}")
    lines = (login.folder / "environ").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if "=" in line)
    assert environ["SLURM_JOB_ID"] == job
    leaked = ("SLURM_ARRAY", "SLURM_MEM_PER", "SLURM_HINT", "SLURM_THREADS_PER_CORE")
    assert not [name for name in environ if name.startswith(leaked)]


def test_the_hint_that_only_cores_count_reaches_the_ranks(login: Login) -> None:
    login.ranks_do('scontrol show step "$SLURM_JOB_ID.$SLURM_STEP_ID" >"$TEST_FOLDER/step"\n')
    job = login.hvdtrain("submit", *login.words, *SYNTHETIC, "--system", "threaded").strip()
    assert login.nodes.wait_for_end(job)["JobState"] == "COMPLETED", login.nodes.output(job)
    # Two ranks of four cores have all eight, with both threads of each.
    step = (login.folder / "step").read_text()
    assert re.findall(r"\b(?:CPUs|Tasks)=\d+", step) == ["CPUs=16", "Tasks=2"]


def test_a_job_submitted_by_hand_is_a_job_of_its_run(login: Login) -> None:
    login.ranks_do('exit "$(<"$TEST_FOLDER/exit")"\n')
    (login.folder / "exit").write_text("1")
    first = login.hvdtrain("submit", *login.words, *SYNTHETIC, "--unset", "requeue").strip()
    assert login.nodes.wait_for_end(first)["JobState"] == "FAILED"
    (run,) = login.status()
    login.ranks_do("exec sleep 100\n")
    by_hand = ("sbatch", "--parsable", "--job-name=another", f"results/{run}/job.sh")
    second = login.run(*by_hand).strip()
    login.nodes.wait_for("the run", lambda: login.status()[run]["job"] == second, second, 30)
    assert login.status()[run]["state"] == "running"
    assert login.hvdtrain("cancel", run) == f"{second} of {run}: was running, cancelled\n"
    assert login.nodes.wait_for_end(second)["JobState"] == "CANCELLED"
    assert login.status()[run]["state"] == "cancelled"


def test_no_job_of_a_chain_repeats_what_would_fail_again(login: Login) -> None:
    login.ranks_do(
        'echo "$SLURM_JOB_ID" >>"$TEST_FOLDER/starts"\n'
        'while [ "$1" != --run-id ]; do shift; done\n'
        'echo "the model is too large" >"results/$2/.failure-$SLURM_JOB_ID"\nexit 2\n'
    )
    words = ("submit", *login.words, *SYNTHETIC, "--chain", "3")
    first, *others = login.hvdtrain(*words).split()
    for job in others:
        assert login.nodes.wait_for_end(job)["JobState"] == "FAILED"
        output = login.nodes.output(job)
        assert f"job {first} of the run has failed" in output
        assert "again: the model is too large" in output
    assert (login.folder / "starts").read_text().split() == [first]
    # Whoever submits it by hand has mended it.
    login.ranks_do("exit 0\n")
    (run,) = login.status()
    last = login.run("sbatch", "--parsable", f"results/{run}/job.sh").strip()
    assert login.nodes.wait_for_end(last)["JobState"] == "COMPLETED", login.nodes.output(last)


# The first start hangs in one step, or ends in it at once.
HANGS = """
echo "$SLURMD_NODENAME ${SLURM_RESTART_COUNT:-0} $1 $2" >>"$TEST_FOLDER/calls"
[ "$1 $2 ${SLURM_RESTART_COUNT:-0}" != "HERE 0" ] || exec sleep 200
"""


@pytest.mark.parametrize("step", ["stage copy", "preflight --system"])
def test_a_job_whose_time_is_up_before_it_trains_goes_back_into_the_queue_at_once(
    login: Login, step: str
) -> None:
    for command in ("stage", "preflight", "train"):
        login.ranks_do(HANGS.replace("HERE", step), command)
    words = ("--data", "/d", "--preflight", "--set", "partition=spare", "--nodes", "2")
    job = login.hvdtrain("submit", *login.words, *words).strip()
    calls = login.folder / "calls"
    login.nodes.wait_for("the step", lambda: calls.exists() and step in calls.read_text(), job, 60)
    login.nodes.run("scancel", "--batch", "--signal=USR1", job)
    login.nodes.wait_for("a restart", lambda: login.nodes.show(job)["Restarts"] == "1", job, 60)
    shown = login.nodes.wait_for_end(job, 60)
    assert shown["JobState"] == "COMPLETED", login.nodes.output(job)
    lines = [line.split() for line in calls.read_text().splitlines()]
    # Nothing of the training in the first start, and both starts remove what is on their nodes.
    assert {line[1] for line in lines if line[2] == "train"} == {"1"}
    for start in "01":
        nodes = {line[0] for line in lines if line[1] == start}
        assert {line[0] for line in lines if line[1:] == [start, "stage", "remove"]} == nodes


@pytest.mark.timeout(600)
def test_ranks_that_do_not_stop_are_ended_while_the_nodes_can_be_cleaned(login: Login) -> None:
    for command in ("stage", "train"):
        login.ranks_do(HANGS.replace("HERE", "train --system"), command)
    words = ("--data", "/d", "--set", "partition=spare", "--nodes", "2")
    job = login.hvdtrain("submit", *login.words, *words).strip()
    calls = login.folder / "calls"
    login.nodes.wait_for("ranks", lambda: calls.exists() and "train" in calls.read_text(), job, 60)
    # The rest of a minute or two.
    login.nodes.run("scontrol", "update", f"jobid={job}", "timelimit=2")
    login.nodes.run("scancel", "--batch", "--signal=USR1", job)
    login.nodes.wait_for("a restart", lambda: login.nodes.show(job)["Restarts"] == "1", job, 200)
    shown = login.nodes.wait_for_end(job, 200)
    assert shown["JobState"] == "COMPLETED", login.nodes.output(job)
    assert "DUE TO TIME LIMIT" not in login.nodes.output(job)
    lines = [line.split() for line in calls.read_text().splitlines()]
    first = {line[0] for line in lines if line[1:3] == ["0", "train"]}
    assert len(first) == 2
    assert {line[0] for line in lines if line[1:] == ["0", "stage", "remove"]} == first


def test_a_job_that_is_cancelled_before_it_trains_does_not_come_back(login: Login) -> None:
    login.ranks_do(HANGS.replace("HERE", "preflight --system"), "preflight")
    job = login.hvdtrain("submit", *login.words, *SYNTHETIC, "--preflight").strip()
    calls = login.folder / "calls"
    login.nodes.wait_for("the step", calls.exists, job, 60)
    login.nodes.run("scancel", job)
    shown = login.nodes.wait_for_end(job, 60)
    assert (shown["JobState"], shown["Restarts"]) == ("CANCELLED", "0")
