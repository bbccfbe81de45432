"""`hvdtrain submit` with programs in place of Slurm's: what is kept, and what is never left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands import submit as module
from hvdtrain.commands.submit import command
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.runs.store import read_results
from hvdtrain.runs.submission import Submission
from hvdtrain.slurm import submitting
from hvdtrain.slurm.client import SlurmRefusedError
from hvdtrain.slurm.command import SlurmError
from hvdtrain.train.open_run import open_run
from tests.samples import sample_plan
from tests.slurm.fake import FakeSlurm, make_fake_slurm, queue_line

NODES = ("--nodes", "256", "--data", "/scratch/imagenet")
TWELVE_DAYS = ("--nodes", "2", "--data", "/scratch/imagenet")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    return make_fake_slurm(tmp_path / "bin", monkeypatch)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def runs() -> list[str]:
    return sorted(os.listdir("results")) if Path("results").exists() else []


def the_run() -> tuple[Path, Submission]:
    (name,) = runs()
    folder = Path("results") / name
    return folder, load_json(folder / "submission.json", Submission)


def test_the_job_id_is_printed_and_the_script_is_kept(slurm: FakeSlurm) -> None:
    slurm.accept(4711)
    done = invoke(*NODES)
    assert done.stdout == "4711\n"
    folder, submission = the_run()
    assert submission.jobs == ("4711",)
    assert submission.run_id == folder.name
    assert submission.job_name == "hvdtrain-stampede2-knl-256n-b8192"
    assert submission.total_steps == round(90 * 1_281_167 / 8192) == 14_075
    script = (folder / "job.sh").read_text()
    assert (slurm.folder / "script-4711").read_text() == script
    assert f"\nrun_id={folder.name}\n" in script
    # The job may start elsewhere.
    assert f"\nresults={folder.parent.absolute()}\n" in script
    assert sorted(os.listdir(folder)) == ["job.sh", "submission.json"]
    assert "#   hvdtrain submit --nodes 256" in script
    subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=True)


def test_the_submission_as_json(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", out="12;knl\n")
    printed = json.loads(invoke(*NODES, "--json").stdout)
    assert (printed["jobs"], printed["cluster"]) == (["12"], "knl")


def test_two_runs_of_one_second_have_two_folders(slurm: FakeSlurm) -> None:
    slurm.accept()
    for _ in range(3):
        invoke(*NODES, "--job-name", "twin")
    assert len(runs()) == 3


def test_home_and_variables_in_a_job_file(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", os.getcwd())
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    Path("images").mkdir()
    Path("job.toml").write_text('nodes = 256\ndata = "~/images"\nresults = "~/r"\n')
    done = invoke("--job=~/job.toml", "--dry-run")
    assert f"\ndata_source={os.getcwd()}/images\n" in done.stdout
    assert f"\nresults={os.getcwd()}/r\n" in done.stdout
    assert "no folder" not in done.stderr
    Path("job.toml").write_text('nodes = 256\ndata = "$SCRATCH/images"\n')
    with pytest.raises(InputError) as caught:
        invoke("--job=job.toml", "--dry-run")
    assert caught.value.fix == "here it stands for /scratch/me/images"
    assert slurm.calls == []


@pytest.mark.parametrize("given", ["option", "environment"])
def test_data_that_are_not_on_this_machine_get_a_note(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    if given == "environment":
        monkeypatch.setenv("HVDTRAIN_DATA", "/scratch/imagenet")
    words = ("--nodes", "256", *(NODES[2:] if given == "option" else ()))
    text = "note: there is no folder '/scratch/imagenet' on this machine"
    assert text in invoke(*words, "--dry-run").stderr
    assert "no folder" not in invoke("--nodes=256", "--data=synthetic", "--dry-run").stderr
    assert slurm.calls == []


def test_a_dry_run_does_nothing(slurm: FakeSlurm) -> None:
    done = invoke(*NODES, "--dry-run", "--after", "5")
    assert done.stdout.startswith("#!/bin/bash\n")
    assert "would submit" in done.stderr and "after 5" in done.stderr
    assert (slurm.calls, runs()) == ([], [])


@pytest.mark.parametrize("wrong", [("--nodes", "5000"), ("--job-name", "a b"), ("--job", "none")])
def test_wrong_input_never_reaches_slurm(slurm: FakeSlurm, wrong: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        invoke("--nodes", "4", *wrong)
    assert invoke("--nodes", "4", "--chain", "0").exit_code == 2
    assert (slurm.calls, runs()) == ([], [])


@pytest.mark.parametrize("case", ["missing", "refusing"])
def test_nothing_is_left_when_nothing_was_submitted(slurm: FakeSlurm, case: str) -> None:
    if case == "refusing":
        slurm.answer("sbatch", err="sbatch: error: Invalid account", exit_code=1)
    with pytest.raises(RunError) as caught:
        invoke(*NODES)
    assert ("Invalid account" if case == "refusing" else "cannot be started") in str(caught.value)
    assert runs() == []


def test_a_run_of_which_nothing_is_known_stays_and_says_so(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", out="Have a nice day\n")
    with pytest.raises(SlurmError) as caught:
        invoke(*NODES)
    assert "may be in the queue or not" in caught.value.fix
    assert "hvdtrain-stampede2-knl-256n-b8192 in squeue" in caught.value.fix
    assert the_run()[1].jobs == ()


def test_an_interruption_in_the_middle_leaves_a_trace(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        assert (the_run()[0] / "job.sh").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(submitting, "submit_script", interrupted)
    assert invoke(*NODES).exit_code == 1
    assert the_run()[1].jobs == ()
    assert slurm.calls == []


def test_the_job_id_is_printed_even_when_it_cannot_be_kept(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.accept(4711)

    def full(*_: object) -> None:
        raise RunError("submission.json cannot be written: No space left on device")

    monkeypatch.setattr(submitting, "write_submission", full)
    with pytest.raises(RunError, match=r"4711 .* in the queue, but .* No space left"):
        command.main([*NODES], standalone_mode=False)
    assert capsys.readouterr().out == "4711\n"


def test_the_job_id_is_kept_even_when_it_cannot_be_printed(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.accept(4711)

    def closed(_: object) -> None:
        raise SystemExit(1)

    monkeypatch.setattr("hvdtrain.cli.output.print_text", closed)
    with pytest.raises(SystemExit):
        command.main([*NODES], standalone_mode=False)
    assert the_run()[1].jobs == ("4711",)


def test_a_chain_is_submitted_whole_though_its_ids_cannot_be_printed(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.accept(11)

    def full(_: object) -> None:
        raise RunError("standard output cannot be written: No space left on device")

    monkeypatch.setattr("hvdtrain.cli.output.print_text", full)
    with pytest.raises(RunError, match="No space left"):
        command.main([*NODES, "--chain", "3"], standalone_mode=False)
    assert the_run()[1].jobs == ("11", "12", "13")


def test_a_chain_is_one_run_of_several_jobs(slurm: FakeSlurm) -> None:
    slurm.accept(11)
    assert invoke(*NODES, "--chain", "3", "--after", "7").stdout == "11\n12\n13\n"
    after = [words[1] for words in slurm.calls_of("sbatch")]
    assert after == [f"--dependency=afterany:{job}" for job in (7, 11, 12)]
    folder, submission = the_run()
    assert submission.jobs == ("11", "12", "13")
    scripts = {(slurm.folder / f"script-{job}").read_text() for job in submission.jobs}
    assert scripts == {(folder / "job.sh").read_text()}
    # Where another job follows, the first one does not go back into the queue.
    assert "#SBATCH --requeue" not in scripts.pop()


def test_a_chain_that_is_cut_short_keeps_what_was_submitted(slurm: FakeSlurm) -> None:
    slurm.answer(
        "sbatch",
        action=f'[ -e {slurm.folder}/once ] && echo "QOSMaxSubmitJobPerUserLimit" >&2 && exit 1\n'
        f">{slurm.folder}/once\necho 11\nexit",
    )
    with pytest.raises(SlurmRefusedError) as caught:
        invoke(*NODES, "--chain", "3")
    assert "1 of 3 jobs" in caught.value.fix
    assert the_run()[0].name in caught.value.fix
    assert the_run()[1].jobs == ("11",)


def test_a_run_longer_than_a_job_asks_for_a_chain(slurm: FakeSlurm) -> None:
    slurm.accept()
    with pytest.raises(InputError) as caught:
        invoke(*TWELVE_DAYS)
    assert caught.value.field == "--chain"
    needed = int(caught.value.fix.split()[1].rstrip(";"))
    assert f"{needed} jobs of 5-00:00:00" in caught.value.allowed
    assert runs() == []
    assert "--chain" not in invoke(*TWELVE_DAYS, "--chain", str(needed), "--dry-run").stderr
    short = invoke(*TWELVE_DAYS, "--chain", str(needed - 1), "--dry-run").stderr
    assert f"--chain {needed}" in short


def test_after_a_run_waits_for_its_last_job(slurm: FakeSlurm) -> None:
    slurm.accept(11)
    invoke(*NODES, "--chain", "2", "--job-name", "first")
    (first,) = runs()
    slurm.queue("11 RUNNING", "12 PENDING Dependency", name="first")
    invoke(*NODES, "--after", first)
    assert slurm.calls_of("sbatch")[-1][1] == "--dependency=afterany:12"
    slurm.queue()
    done = invoke(*NODES, "--after", first)
    assert "nothing to wait for" in done.stderr
    assert slurm.calls_of("sbatch")[-1] == ["--parsable"]
    for unknown in ("no-such-run", "../x"):
        with pytest.raises(InputError, match="--after"):
            invoke(*NODES, "--after", unknown)


def test_the_environment_does_not_overrule_the_plan(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer(
        "sbatch", out="1", action=f"echo ${{SBATCH_TIMELIMIT-unset}} >{slurm.folder}/limit"
    )
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    assert "SBATCH_TIMELIMIT is set" in invoke(*NODES).stderr
    assert (slurm.folder / "limit").read_text() == "unset\n"


def test_the_run_begins_in_the_folder_that_waits_for_it(slurm: FakeSlurm) -> None:
    slurm.accept()
    invoke(*NODES)
    folder, _ = the_run()
    assert list(read_results(Path("results"))) == []
    opened = open_run(Path("results"), folder.name, sample_plan(), allow_change=False)
    opened.lock.release()
    assert sorted(os.listdir(folder)) == ["job.sh", "plan.json", "submission.json"]


def test_a_name_that_is_taken_meanwhile_is_not_written_over(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.accept()

    monkeypatch.setattr(module, "free_run_id", lambda *_: "mine")
    mine = Path("results/mine")
    mine.mkdir(parents=True)
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="mine"):
        invoke(*NODES)
    assert runs() == ["mine"]
    assert os.listdir(mine) == ["thesis.tex"]
    assert slurm.calls == []


def test_results_that_cannot_be_written_are_said_before_anything_is_submitted(
    slurm: FakeSlurm,
) -> None:
    slurm.accept()
    Path("results").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        invoke(*NODES)
    assert slurm.calls == []


def test_options_are_those_of_render_job() -> None:
    from hvdtrain.commands.render_job import command as render_job

    def names(of: Any) -> set[str]:
        return {option for parameter in of.params for option in parameter.opts}

    assert names(render_job) < names(command)


def test_a_chain_stays_on_the_cluster_of_its_first_job_and_others_wait_only_there(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer("sbatch", out="Submitted batch job 77 on cluster doduo\n")
    invoke(*NODES, "--chain", "2", "--job-name", "first")
    folder, submission = the_run()
    assert submission.cluster == "doduo"
    assert slurm.calls_of("sbatch")[1] == [
        "--parsable",
        "--clusters=doduo",
        "--dependency=afterany:77",
    ]
    slurm.answer("squeue", out=f"CLUSTER: doduo\n{queue_line('77 RUNNING', 'first')}\n")
    invoke(*NODES, "--after", folder.name, "--job-name", "second")
    assert "--clusters=doduo" in slurm.calls_of("squeue")[-1]
    assert "--clusters=doduo" in slurm.calls_of("sbatch")[-1]
    monkeypatch.setenv("SLURM_CLUSTERS", "victini,joltik")
    with pytest.raises(InputError, match="a job can wait only for jobs of its own cluster"):
        invoke(*NODES, "--after", folder.name)
    monkeypatch.setenv("SLURM_CLUSTERS", "victini,doduo")
    invoke(*NODES, "--after", folder.name, "--job-name", "third")
    with pytest.raises(InputError, match="a job can wait only for jobs of its own cluster"):
        invoke(*NODES, "--after", folder.name, "--set", "clusters=victini")
    assert len(slurm.calls_of("sbatch")) == 4
