"""`hvdtrain attempt`: what a job's script asks before its ranks start, and when they have ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.files.fields import require_name
from hvdtrain.runs.attempt import (
    MOST_RESTARTS,
    failure_file,
    next_attempt,
    read_attempt,
    write_attempt,
)
from hvdtrain.runs.record import RECORD_FILE, Record
from hvdtrain.slurm.client import requeue_job
from hvdtrain.train.checkpoint.archive import CHECKPOINTS_FOLDER, newest_step

_EXAMPLE = """\b
Example:
  hvdtrain attempt end --requeue --results results --run-id "$run_id"
"""


@click.command(epilog=_EXAMPLE)
@click.argument("moment", type=click.Choice(["begin", "end"]))
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True
)
@click.option("--run-id", required=True, help="Name of the run's folder.")
@click.option("--requeue", is_flag=True, help="Whether the site lets a job requeue itself.")
def command(moment: str, results: Path, run_id: str, requeue: bool) -> None:
    """Called by a job's script; nobody else needs it.

    `begin`, before the ranks start, counts the job's restarts and fails when there were three from
    the same checkpoint. A job that was submitted anew begins at nought.

    `end`, when the ranks did not end well, puts the job back into the queue, unless the run is
    over, has failed in a way that another start would repeat, or has not come further in three
    restarts.
    """
    folder = results / require_name("--run-id", run_id)
    if moment == "begin":
        _begin(folder)
    else:
        _end(folder, requeue)


def _begin(folder: Path) -> None:
    step = newest_step(folder / CHECKPOINTS_FOLDER)
    is_restart = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    attempt = next_attempt(read_attempt(folder) if is_restart else None, step)
    if attempt.is_one_too_many:
        raise _no_progress(folder, step)
    write_attempt(folder, attempt)
    (folder / failure_file(_job())).unlink(missing_ok=True)


def _end(folder: Path, requeue: bool) -> None:
    over = _why_over(folder)
    if over:
        raise RunError(f"the job is not started again: {over}")
    step = newest_step(folder / CHECKPOINTS_FOLDER)
    attempt = read_attempt(folder)
    if attempt is not None and not attempt.may_be_followed(step):
        raise _no_progress(folder, step)
    from_where = f"step {step}" if step else "the first step: there is no checkpoint yet"
    by_hand = f"submit the same script with HVDTRAIN_RUN_ID={folder.name}"
    if not requeue:
        in_a_chain = f"in a chain, the next job goes on from {from_where}"
        raise RunError("the job does not requeue itself", f"{in_a_chain}. Otherwise, {by_hand}")
    # Said before: Slurm may end the job, and this process, before it has answered.
    asking = "asking Slurm to put the job back into the queue"
    print(f"hvdtrain: {asking}, to go on from {from_where}", file=sys.stderr, flush=True)
    refusal = requeue_job(_job())
    if refusal:
        raise RunError(
            f"Slurm does not requeue the job: {refusal}", f"{by_hand}; it goes on from {from_where}"
        )


def _why_over(folder: Path) -> str:
    """Why another start would change nothing; empty: it may."""
    failure = folder / failure_file(_job())
    if failure.exists():
        # A full disk may have left it empty.
        said = failure.read_text(errors="replace").splitlines()
        return said[0] if said else "its ranks have said why"
    record = folder / RECORD_FILE
    if record.exists() and load_json(record, Record).status == "completed":
        return "the run is completed"
    return ""


def _no_progress(folder: Path, step: int) -> RunError:
    where = f"step {step}" if step else "the first step"
    return RunError(
        f"{folder.name} was started again {MOST_RESTARTS} times from {where} and wrote no newer "
        "checkpoint: the job stops here",
        "find out why in its output; to try again, submit the same script with "
        f"HVDTRAIN_RUN_ID={folder.name}",
    )


def _job() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        raise InputError("SLURM_JOB_ID", None, "the number of the job; Slurm sets it")
    return job
