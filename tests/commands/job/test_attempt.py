"""What a job's script asks before its ranks start, and what it hears when they have ended."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.job.attempt import command
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.runs.attempt import MOST_RESTARTS, read_hang, write_hang
from hvdtrain.runs.names import ATTEMPT_FILE, RECORD_FILE, failure_file
from hvdtrain.runs.preflight import SlowNode
from hvdtrain.runs.submission import Submission
from tests.samples import sample_preflight, sample_record, sample_submission


class Job:
    """A job whose scontrol only takes note."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path / "results" / "run"
        self.requeued = tmp_path / "requeued"
        self.scontrol = tmp_path / "scontrol"
        self.answer("exit 0")
        self.starts = 0
        self.setenv = monkeypatch.setenv
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setenv("SLURM_JOB_ID", "7")

    def answer(self, shell: str) -> None:
        self.scontrol.write_text(f'#!/bin/bash\necho "$@" >>{self.requeued}\n{shell}\n')
        self.scontrol.chmod(0o755)

    def begin(self) -> Result:
        self.setenv("SLURM_RESTART_COUNT", str(self.starts))
        self.starts += 1
        return self._call("begin")

    def end(self, *words: str) -> Result:
        return self._call("end", *words)

    def refused(self) -> Result:
        return self._call("refused")

    def save(self, step: int) -> None:
        folder = self.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        (folder / f"checkpoint-{step:010d}.npz").touch()

    def _call(self, *words: str) -> Result:
        options = ("--results", str(self.folder.parent), "--run-id", "run")
        return CliRunner().invoke(command, [*words, *options])


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, monkeypatch)


def test_a_job_requeues_itself_and_says_where_it_goes_on(job: Job) -> None:
    assert job.begin().exit_code == 0
    job.save(40)
    done = job.end("--requeue")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "to go on from step 40" in done.stderr
    assert job.requeued.read_text() == "requeue 7\n"


def test_a_crash_loop_is_left_after_three_restarts(job: Job) -> None:
    for _ in range(MOST_RESTARTS):
        assert job.begin().exit_code == 0
        assert job.end("--requeue").exit_code == 0
    assert job.begin().exit_code == 0
    error = job.end("--requeue").exception
    assert isinstance(error, RunError)
    assert "started again 3 times from the first step" in str(error)
    assert len(job.requeued.read_text().splitlines()) == MOST_RESTARTS
    # Nor does it begin when somebody else has started it.
    assert isinstance(job.begin().exception, RunError)
    job.save(1)
    assert job.begin().exit_code == 0


def test_a_job_that_is_submitted_anew_begins_to_count_anew(job: Job) -> None:
    for _ in range(2 + MOST_RESTARTS):
        done = job.begin()
    assert done.exit_code == 1
    job.starts = 0
    assert job.begin().exit_code == 0
    assert job.end("--requeue").exit_code == 0


def test_a_failure_that_would_come_again_is_not_repeated(job: Job) -> None:
    job.begin()
    failure = job.folder / failure_file("7")
    failure.write_text("the disk is full\n  fix: make room\n")
    error = job.end("--requeue").exception
    assert "not started again: the disk is full" in str(error)
    failure.write_text("")
    assert isinstance(job.end("--requeue").exception, RunError)
    assert not job.requeued.exists()
    # Who starts it again has done something about it.
    assert job.begin().exit_code == 0
    assert job.end("--requeue").exit_code == 0


def test_ranks_that_hung_start_again_and_what_they_left_is_forgotten(job: Job) -> None:
    job.begin()
    write_hang(job.folder, "the run has not come further for 255 s: rank 1 on n2: step 3")
    assert job.end("--requeue").exit_code == 0
    assert read_hang(job.folder).startswith("the run has not come further")
    assert job.begin().exit_code == 0
    assert read_hang(job.folder) == ""


@pytest.mark.parametrize(("status", "code"), [("completed", 1), ("failed", 0)])
def test_a_run_that_is_over_stays_so(job: Job, status: str, code: int) -> None:
    job.begin()
    record = sample_record(run_id="run", status=status)
    (job.folder / RECORD_FILE).write_bytes(msgspec.json.encode(record))
    assert job.end("--requeue").exit_code == code


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        # A job of a chain: nobody has to do anything.
        (
            (),
            "in a chain, the next job goes on from step 40. Otherwise, submit the same script with "
            "HVDTRAIN_RUN_ID=run",
        ),
        (
            ("--requeue",),
            "submit the same script with HVDTRAIN_RUN_ID=run; it goes on from step 40",
        ),
    ],
)
def test_where_a_job_cannot_requeue_itself_it_says_how_to_go_on(
    job: Job, words: tuple[str, ...], fix: str
) -> None:
    job.begin()
    job.save(40)
    job.answer("echo 'Requested operation not permitted' >&2; exit 1")
    error = job.end(*words).exception
    assert isinstance(error, RunError)
    assert error.fix == fix
    assert ("not permitted" in error.message) == bool(words)


def test_a_damaged_note_is_as_good_as_none(job: Job) -> None:
    job.folder.mkdir(parents=True)
    (job.folder / ATTEMPT_FILE).write_text("{")
    assert job.begin().exit_code == 0


def test_a_folder_that_cannot_be_written_ends_the_job(job: Job) -> None:
    job.folder.parent.mkdir()
    job.folder.write_text("a file")
    error = job.begin().exception
    assert isinstance(error, RunError)
    assert "cannot be written" in error.message


def test_outside_a_job_there_is_nothing_to_requeue(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    for done in (job.begin(), job.end("--requeue")):
        assert isinstance(done.exception, InputError)


def test_jobs_of_a_chain_that_do_not_come_further_are_counted_like_restarts(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = tuple(str(number) for number in range(11, 17))
    submission = sample_submission(run_id="run", jobs=numbers, chain=6)
    job.folder.mkdir(parents=True)
    (job.folder / "submission.json").write_bytes(msgspec.json.encode(submission))
    codes = []
    for number in numbers:
        monkeypatch.setenv("SLURM_JOB_ID", number)
        job.starts = 0
        codes.append(job.begin().exit_code)
    assert codes == [0] * (1 + MOST_RESTARTS) + [1, 1]
    # Submitted by hand, it begins to count anew, and is known from then on.
    monkeypatch.setenv("SLURM_JOB_ID", "20")
    job.starts = 0
    assert job.begin().exit_code == 0
    assert load_json(job.folder / "submission.json", Submission).jobs == (*numbers, "20")


def chain_with_a_slow_node(job: Job, *, working: int) -> None:
    """Jobs 7 to 9 of a run, of which 7 has found the node c1 slow, and what Slurm says."""
    submission = sample_submission(run_id="run", jobs=("7", "8", "9"), chain=3)
    job.folder.mkdir(parents=True)
    slow = (SlowNode(host="c1", what="memory", ratio=1.5),)
    report = sample_preflight(hosts=("c1", "c2"), slow=slow, exclude="--exclude=c1")
    for name, content in (("submission.json", submission), ("preflight.json", report)):
        (job.folder / name).write_bytes(msgspec.json.encode(content))
    job.setenv("SLURM_JOB_PARTITION", "normal")
    for program, answer in (("sinfo", f"echo {working}"), ("squeue", "echo x[1-3]")):
        path = job.scontrol.with_name(program)
        path.write_text(f"#!/bin/bash\n{answer}\n")
        path.chmod(0o755)


@pytest.mark.parametrize("moment", ["end", "refused"])
def test_jobs_that_wait_leave_out_what_the_preflight_found_wanting(job: Job, moment: str) -> None:
    chain_with_a_slow_node(job, working=3)
    done = job.end("--requeue") if moment == "end" else job.refused()
    assert done.exit_code == 0
    lines = job.requeued.read_text().splitlines()
    left_out = [f"update jobid={number} excnodelist=x[1-3],c1" for number in (8, 9)]
    own = ["requeue 7", "update jobid=7 excnodelist=x[1-3],c1"] if moment == "end" else []
    assert lines == left_out + own
    assert "the job 8 leaves out c1" in done.stderr


def test_a_node_without_another_one_in_its_place_is_not_left_out(job: Job) -> None:
    chain_with_a_slow_node(job, working=2)
    done = job.refused()
    assert "c1 cannot be left out: normal has too few other nodes" in done.stderr
    assert not job.requeued.exists()
