"""Whatever stands in for Slurm's commands, the client understands it or says what it did not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.slurm import client, control
from hvdtrain.slurm.client import (
    Accepted,
    SlurmRefusedError,
    find_jobs,
    own_jobs,
    script_environ,
    submit_script,
)
from hvdtrain.slurm.command import SlurmError, SlurmMissingError
from hvdtrain.slurm.control import cancel_jobs, requeue_job
from tests.slurm.fake import FakeSlurm, make_fake_slurm, queue_line


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return make_fake_slurm(tmp_path / "bin", monkeypatch)


def submit(slurm: FakeSlurm, script: str = "#!/bin/bash\n") -> Accepted:
    return submit_script(script, {"PATH": str(slurm.folder)})


JOB_12 = ("12", "knl.site")

ASK: dict[str, Callable[[], object]] = {
    "squeue": own_jobs,
    "scancel": lambda: cancel_jobs(["7"]),
}


@pytest.mark.parametrize("program", ASK)
def test_a_missing_command_is_said(slurm: FakeSlurm, program: str) -> None:
    with pytest.raises(SlurmMissingError, match=f"{program} cannot be started") as caught:
        ASK[program]()
    assert "login node" in caught.value.fix
    (slurm.folder / program).write_text("#!/bin/bash\n")  # not executable
    with pytest.raises(SlurmMissingError, match="Permission denied"):
        ASK[program]()


@pytest.mark.parametrize("program", ASK)
def test_a_slow_command_is_not_waited_for(
    slurm: FakeSlurm, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (client, control):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    slurm.answer(program, action="exec /bin/sleep 60")
    with pytest.raises(SlurmError, match=f"{program} did not answer within 0.2 s"):
        ASK[program]()


@pytest.mark.parametrize("program", ASK)
def test_what_slurm_complains_of_is_passed_on_without_its_control_characters(
    slurm: FakeSlurm, program: str
) -> None:
    slurm.answer(program, err="error: \x1b[31mno\x07 such\n\nthing", exit_code=1)
    with pytest.raises(SlurmError, match=r"error: \\x1b\[31mno\\x07 such; thing"):
        ASK[program]()
    slurm.answer(program, exit_code=3)
    with pytest.raises(SlurmError, match="exit code 3, and not a word why"):
        ASK[program]()


def test_the_script_goes_through_standard_input(slurm: FakeSlurm) -> None:
    slurm.accept(4711)
    script = "#!/bin/bash\n#SBATCH --comment=é\necho '$(x)'\n"
    assert submit(slurm, script) == Accepted("4711", None)
    assert (slurm.folder / "script-4711").read_text() == script
    assert slurm.calls_of("sbatch") == [["--parsable"]]
    submit_script(script, {"PATH": str(slurm.folder)}, after=Accepted("4_1", None), tasks=5)
    assert slurm.calls_of("sbatch")[1] == [
        "--parsable",
        "--dependency=afterany:4_1",
        "--array=0-4",
    ]


@pytest.mark.parametrize(
    ("out", "job", "cluster"),
    [
        ("12\n", "12", None),
        ("12;knl\n", "12", "knl"),
        ("---\n Welcome to the machine\n---\n\nSubmitted batch job 12\n", "12", None),
        ("--> Verifying ...OK\n12;a.b-c\n\n", "12", "a.b-c"),
        ("Submitted batch job 60060368 on cluster X\n", "60060368", "X"),
        ("12\nhello\n", "12", None),
        ("Welcome\r\n  12;knl \r\nbye\r\n", "12", "knl"),
        ("[info] Submitted batch job 12 on cluster knl.site (2 nodes)\nbalance: 7 h\n", *JOB_12),
        ("checking 13 rules\nSubmitted batch job 12 on cluster knl.site\nok\n", *JOB_12),
        # A wrapper that repeats in words what it prints for programs.
        ("12;knl.site\nSubmitted batch job 12 on cluster knl.site\n", *JOB_12),
    ],
)
def test_the_forms_of_a_job_id(slurm: FakeSlurm, out: str, job: str, cluster: str | None) -> None:
    slurm.answer("sbatch", out=out)
    assert submit(slurm) == Accepted(job, cluster)


def test_a_wrapper_may_say_it_where_errors_go(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", out="-----\n", err="Submitted batch job 12 on cluster knl.site\n")
    assert submit(slurm) == Accepted(*JOB_12)


@pytest.mark.parametrize(
    "out", ["", "\n", "hello\n", "12 13\n", "12;$(x)\n", "-1\n", "12\n13\n", "\x1b[31m12\n"]
)
def test_any_other_answer_of_sbatch_is_not_understood(slurm: FakeSlurm, out: str) -> None:
    slurm.answer("sbatch", out=out)
    with pytest.raises(SlurmError, match="the answer of sbatch is not understood"):
        submit(slurm)


def test_a_refusal_is_told_from_no_answer(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer("sbatch", err="sbatch: error: Invalid partition name specified\n", exit_code=1)
    with pytest.raises(SlurmRefusedError, match="Invalid partition name specified"):
        submit(slurm)
    slurm.answer(
        "sbatch",
        err="sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        exit_code=1,
    )
    with pytest.raises(SlurmError, match="Socket timed out") as caught:
        submit(slurm)
    assert "may be in the queue" in caught.value.fix
    monkeypatch.setattr(client, "SUBMIT_SECONDS", 0.2)
    slurm.answer("sbatch", action="exec /bin/sleep 60")
    with pytest.raises(SlurmError, match="did not answer"):
        submit(slurm)


def test_the_queue_is_asked_once_for_all_jobs(slurm: FakeSlurm) -> None:
    slurm.queue("1 RUNNING", "2 PENDING Dependency", "3_0 PENDING Priority", "9 RUNNING")
    found = find_jobs(["1", "2", "3_0", "3_1", "4"])
    assert list(found) == ["1", "2", "3_0"]
    assert [job.reason for job in found.values()] == ["", "Dependency", "Priority"]
    assert found["1"].is_running and found["2"].is_waiting
    assert found["1"].starts == datetime(2026, 3, 14, 15).timestamp()
    assert found["2"].starts is None
    (words,) = slurm.calls_of("squeue")
    # The first one twice: one forgotten job alone would be an error.
    assert "--jobs=1,2,3,4,1" in words


def test_no_jobs_are_no_question(slurm: FakeSlurm) -> None:
    assert find_jobs([]) == {}
    assert slurm.calls == []


def test_a_job_that_slurm_has_forgotten_is_no_error(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", err="slurm_load_jobs error: Invalid job id specified\n", exit_code=1)
    assert find_jobs(["5"]) == {}


def test_the_users_own_format_does_not_matter(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    slurm.answer("squeue", action=f"echo ${{SQUEUE_FORMAT-unset}} >{slurm.folder}/format")
    own_jobs()
    assert (slurm.folder / "format").read_text() == "unset\n"


@pytest.mark.parametrize(
    "line",
    ["hello", "1|1|N/A|RUNNING|normal", "1|1|N/A|$(x)|p|q|a|b|c|d", "x|1|N/A|RUNNING|p|q|||r|n"],
)
def test_any_other_line_of_squeue_is_not_understood(slurm: FakeSlurm, line: str) -> None:
    slurm.answer("squeue", out=f"{queue_line('1 RUNNING', 'x')}\n{line}\n")
    with pytest.raises(SlurmError, match="the answer of squeue is not understood"):
        own_jobs()


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30))
def test_a_name_is_data_whatever_it_holds(name: str) -> None:
    job = client._parse_line(queue_line("7 RUNNING", name))
    assert (job.job, job.name, job.state) == ("7", name, "RUNNING")


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_no_line_makes_it_fall(line: str) -> None:
    with pytest.raises(RunError, match="not understood") as caught:
        # No text of hypothesis' own has nine bars in the right places.
        client._parse_line(line)
    assert str(caught.value).replace("\n", "").isprintable()


def test_variables_that_overrule_the_script_are_left_out() -> None:
    environ = {"SBATCH_PARTITION": "x", "SBATCH_ACCOUNT": "y", "SBATCH_WAIT": "1", "HOME": "/h"}
    kept, dropped = script_environ(environ, {"partition": "large", "nodes": "2"})
    assert kept == {"SBATCH_ACCOUNT": "y", "HOME": "/h"}
    assert sorted(dropped) == ["SBATCH_PARTITION", "SBATCH_WAIT"]


def test_a_job_submitted_from_inside_another_one_learns_nothing_of_it() -> None:
    outer = {
        "SLURM_JOB_ID": "7",
        "SLURM_MEM_PER_CPU": "20",
        "SLURM_CPU_BIND_TYPE": "mask_cpu",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_EXPORT_ENV": "NONE",
        "SLURMD_NODENAME": "n1",
        "SRUN_CPUS_PER_TASK": "2",
        "PMI_RANK": "0",
        "PMI_FD": "11",
        "PMIX_NAMESPACE": "x",
    }
    ours = {"HOME": "/h", "SLURM_CONF": "/c", "SLURM_CLUSTERS": "a", "I_MPI_PMI_LIBRARY": "/l"}
    assert script_environ({**ours, **outer}, {}) == (ours, [])
    # Outside of a job, whoever has set such a variable is told that it is not passed on.
    assert script_environ({**ours, "SLURM_HINT": "multithread"}, {}) == (ours, ["SLURM_HINT"])


def test_a_cluster_that_is_named_is_the_one_that_is_asked(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CLUSTERS", "elsewhere")
    for program in ("scancel", "scontrol"):
        slurm.answer(program, action=f"echo ${{SLURM_CLUSTERS-none}} >>{slurm.folder}/told")
    slurm.answer(
        "squeue",
        out=f"CLUSTER: doduo\n{queue_line('77 RUNNING', 'x')}\n",
        action=f"echo ${{SLURM_CLUSTERS-none}} >>{slurm.folder}/told",
    )
    assert list(find_jobs(["77"], "doduo")) == ["77"]
    cancel_jobs(["77"], "doduo")
    find_jobs(["77"])
    cancel_jobs(["77"])
    # The job itself asks the cluster that it runs on.
    assert requeue_job("77") == ""
    # Where another job would go: the limits there count.
    own_jobs()
    asked = [[word for word in words if "cluster" in word] for words in slurm.calls_of("squeue")]
    assert asked == [["--clusters=doduo"], [], ["--clusters=elsewhere"]]
    assert slurm.calls_of("scancel") == [["--clusters=doduo", "77"], ["77"]]
    assert set((slurm.folder / "told").read_text().split()) == {"none"}
    slurm.accept(5)
    submit_script("", {"PATH": str(slurm.folder)}, after=Accepted("77", "doduo"))
    assert slurm.calls_of("sbatch") == [
        ["--parsable", "--clusters=doduo", "--dependency=afterany:77"]
    ]
