"""`hvdtrain resume`: submit more jobs of a run, so that it goes on."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.config import default_results
from hvdtrain.cli.output import LateErrors, print_json, print_text, say
from hvdtrain.cli.submission import (
    check_chain,
    describe,
    find_last_job,
    ignored,
    submission_options,
    wanted_clusters,
)
from hvdtrain.errors import InputError
from hvdtrain.files.decode import load_json
from hvdtrain.files.fields import require_name, unknown_name
from hvdtrain.plan.job.again import on_the_data_of, request_from_plan
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.attempt import forget_attempts
from hvdtrain.runs.folder import RunFolder, find_submission
from hvdtrain.runs.names import PLAN_FILE, PREFLIGHT_FILE
from hvdtrain.runs.plan_diff import plan_changes
from hvdtrain.runs.preflight import Preflight
from hvdtrain.runs.progress import read_runs
from hvdtrain.runs.state import is_job_of
from hvdtrain.runs.submission import MOST_JOBS, Submission, make_submission
from hvdtrain.slurm.client import find_jobs, script_environ
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.submitting import resume_chain

_EXAMPLE = """\b
Example:
  hvdtrain resume hvdtrain-stampede2-knl-256n-b8192-20260314-150926 --walltime 12:00:00
"""


@click.command("resume", cls=job.RecordedCommand, epilog=_EXAMPLE)
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@job.run_options
@submission_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str,
    after: str | None,
    chain: int | None,
    dry_run: bool,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit the job of a run again, and print its job id: the run goes on from its checkpoint.

    The job is the one that the run was submitted with, or one with the plan that it has left. An
    option that is given replaces what the run had; what changes the training needs --allow-change.
    Nodes that the last preflight found at fault or slow are left out, unless --set or --unset says
    something of `exclude`.
    """
    planner = job.make_planner(ctx, **options)
    results = Path(options["results"] or default_results())
    before, plan, notes = _plan_again(planner, results, run)
    plan = check_chain(plan, chain)
    jobs = chain or 1
    submission = _submission(plan, before, jobs)
    script = render_script(plan)
    environ, dropped = script_environ(os.environ, plan.directives)
    for note in (*plan.notes, *notes, *ignored(dropped)):
        say(f"note: {note}")
    if explain:
        job.explain(plan)
    if dry_run:
        then = f", after {after}" if after else ""
        say(f"would go on with {describe(submission, jobs)}{then}")
        print_json(submission) if as_json else print_text(script)
        return
    if after is None and before is not None:
        _require_idle(before)
    waits_for = find_last_job(after, results, wanted_clusters(plan))
    say(f"going on with {describe(submission, jobs)}")
    # Whoever submits a run again has seen to what made it fail.
    forget_attempts(results / run, before.jobs if before else ())
    lines = LateErrors()
    tell = (lambda _: None) if as_json else lines.print_line
    submission = resume_chain(
        results, submission, script, environ, jobs=jobs, after=waits_for, tell=tell
    )
    if as_json:
        print_json(submission)
    lines.finish()


def _plan_again(
    planner: job.Planner, results: Path, run: str
) -> tuple[Submission | None, JobPlan, tuple[str, ...]]:
    """What was submitted before, the plan of the next job, and notes on its nodes.

    Raises:
        InputError: There is no such run, it has ended, or the plan would change its training.
    """
    before, began_as = _read(results, run)
    asked = before.request if before else request_from_plan(_required(began_as, results, run))
    # The folder that the run is in, and not where its jobs were told to write.
    asked = planner.override(msgspec.structs.replace(asked, results=str(results)))
    RunFolder(results / run).check_unfinished(asked.allow_change)
    request, notes = _without_bad_nodes(asked, results / run, planner.systems)
    plan = msgspec.structs.replace(planner.plan(request, submitted=True), run_id=run)
    _check_same(began_as, plan)
    return before, plan, notes


def _read(results: Path, run: str) -> tuple[Submission | None, RunPlan | None]:
    """What a run's folder says of how it was begun.

    Raises:
        InputError: There is no such run.
    """
    folder = results / require_name("RUN", run)
    if not folder.is_dir():
        known = [each.run_id for each in read_runs(results)] if results.is_dir() else []
        raise unknown_name("RUN", run, known[:50], f" in {results}")
    has_plan = (folder / PLAN_FILE).exists()
    return find_submission(results, run), RunFolder(folder).read_plan() if has_plan else None


def _required(plan: RunPlan | None, results: Path, run: str) -> RunPlan:
    if plan is None:
        raise InputError("RUN", run, f"a run in {results} that was submitted, or has begun")
    return plan


def _without_bad_nodes(
    request: JobRequest, folder: Path, systems: Path
) -> tuple[JobRequest, tuple[str, ...]]:
    """The request without the nodes that the last preflight found wanting, and what to say."""
    path = folder / PREFLIGHT_FILE
    if not path.is_file():
        return request, ()
    hosts = load_json(path, Preflight).excluded
    assert request.system is not None  # what was submitted, or began, had one
    slurm = load_system(request.system, systems).slurm
    if not hosts or "exclude" in {*request.set_directives, *request.unset_directives}:
        return request, ()
    if slurm is None or "exclude" in slurm.forbidden:
        return request, (f"{request.system} does not let a job leave out {hosts}",)
    directives = {**request.set_directives, "exclude": hosts}
    return (
        msgspec.structs.replace(request, set_directives=directives),
        (f"the preflight of {folder.name} found {hosts} wanting: left out",),
    )


def _check_same(before: RunPlan | None, plan: JobPlan) -> None:
    """Raise where the ranks would refuse the plan.

    Raises:
        InputError: It changes the training, and nobody has said that it may.
    """
    if before is None or plan.request.allow_change:
        return
    changes = plan_changes(before, on_the_data_of(plan.run, before))
    if changes:
        raise InputError(
            "RUN",
            plan.run_id,
            "a run that goes on as it began, and these options change it:\n  "
            + "\n  ".join(changes),
            "leave them out, or add --allow-change to go on with the new plan",
        )


def _submission(plan: JobPlan, before: Submission | None, jobs: int) -> Submission:
    """What is submitted, beside what was before."""
    assert plan.run_id is not None
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known = before.jobs if before else ()
    new = make_submission(plan, plan.run_id, now, min(len(known) + jobs, MOST_JOBS))
    return msgspec.structs.replace(new, jobs=known)


def _require_idle(submission: Submission) -> None:
    """Raise while a job of the run is in the queue: two of them would work on one run.

    Raises:
        InputError: One is.
        SlurmError: Slurm does not say.
    """
    queue = find_jobs(submission.jobs, submission.cluster)
    for found in queue.values():
        if found.is_active and is_job_of(submission, found):
            raise InputError(
                "RUN",
                submission.run_id,
                f"a run of which no job waits or runs, and {found.job} is {found.state.lower()}",
                f"--after {submission.run_id}; or hvdtrain cancel {submission.run_id} first",
            )
