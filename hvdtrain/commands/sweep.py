"""`hvdtrain sweep`: submit many runs from one file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.output import align, say
from hvdtrain.cli.sweep_rows import Entry, batches, plan_row, within_limits
from hvdtrain.errors import InputError
from hvdtrain.files.fields import printable
from hvdtrain.names import name_some
from hvdtrain.plan.job.sweep import Sweep, load_sweep
from hvdtrain.runs.names import SCRIPT_FILE
from hvdtrain.slurm.array import render_array
from hvdtrain.slurm.client import script_environ
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.submitting import submit_array, submit_chain
from hvdtrain.units import format_walltime

_HEADINGS = ("run", "what", "nodes", "batch", "partition", "jobs", "node-hours", "at most", "state")
_RIGHT = frozenset({"nodes", "batch", "jobs", "node-hours", "at most"})
_EXAMPLE = """\b
Example:
  hvdtrain sweep jobs/sweeps/table-05.toml --data /scratch/imagenet --dry-run
"""


class RowReport(msgspec.Struct, frozen=True, kw_only=True):
    """A row for programs: what it is, what it costs, and its jobs where it was submitted."""

    run: str
    label: str
    system: str
    nodes: int
    global_batch: int
    partition: str
    walltime_min: int
    chain: int
    node_hours: float | None
    most_node_hours: float
    jobs: tuple[str, ...]


@click.command("sweep", cls=job.RecordedCommand, epilog=_EXAMPLE)
@click.argument("file", type=click.Path(path_type=Path))
@job.request_options
@click.option("--dry-run", is_flag=True, help="Print the list with node-hours; submit nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print the list as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    file: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit a run for every row of the sweep in FILE; print a line with run and job for each.

    Options of the command line hold for all rows. Every row is planned before the first one is
    submitted. Rows that were submitted earlier are left out: the same command goes on with a
    sweep that was interrupted, or that had more rows than the site takes jobs at a time. Rows
    that ask Slurm for the same become one job array where the site has arrays. A row that takes
    longer than a job may is submitted as a chain.
    """
    if as_json and not dry_run:
        raise InputError("--json", "without --dry-run", "--json together with --dry-run")
    planner = job.make_planner(ctx, **options)
    sweep, rows = load_sweep(file)
    entries = [plan_row(planner, row) for row in rows]
    _say_notes(entries)
    if dry_run:
        sys.stdout.write(_to_json(entries) if as_json else _to_text(entries))
        return
    missing = [entry for entry in entries if not entry.done]
    now = 0
    try:
        for batch in batches(within_limits(missing) if missing else []):
            _submit(sweep, batch)
            now += len(batch)
    finally:
        say(
            f"{sweep.name}: {len(entries)} rows, {len(entries) - len(missing)} submitted earlier, "
            f"{now} now, {len(missing) - now} left"
        )
    if now < len(missing):
        say("call the same command again when some of these jobs have ended")


def _say_notes(entries: Sequence[Entry]) -> None:
    """Each note once, with the rows it is about unless it is about all."""
    rows: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.plan.notes:
            rows.setdefault(note, []).append(entry.row.run_id)
    for note, names in rows.items():
        about = "" if len(names) == len(entries) else f"{name_some(names, 1)}: "
        say(f"note: {about}{note}")


def _submit(sweep: Sweep, batch: Sequence[Entry]) -> None:
    first = batch[0].plan
    results = Path(first.request.results)
    environ, dropped = script_environ(os.environ, first.directives)
    for name in dropped:
        say(f"note: {name} is set and would overrule the script: it is left out")
    if len(batch) == 1:
        submit_chain(
            results,
            batch[0].submission,
            render_script(first),
            environ,
            tell=lambda number: click.echo(f"{first.run_id} {number}"),
        )
        return
    directives = dict(first.directives)
    if "job-name" in directives:
        directives["job-name"] = sweep.name
    members = [
        (
            msgspec.structs.replace(
                entry.submission, job_name=directives.get("job-name", entry.submission.job_name)
            ),
            render_script(entry.plan),
        )
        for entry in batch
    ]
    scripts = [results / entry.row.run_id / SCRIPT_FILE for entry in batch]
    submit_array(
        results,
        members,
        render_array(first.origin.command, directives, scripts),
        environ,
        lambda submission, number: click.echo(f"{submission.run_id} {number}"),
    )


def _to_json(entries: Sequence[Entry]) -> str:
    reports = [
        RowReport(
            run=entry.row.run_id,
            label=entry.row.label,
            system=entry.plan.system.name,
            nodes=entry.submission.nodes,
            global_batch=entry.submission.global_batch,
            partition=entry.plan.partition.name,
            walltime_min=entry.submission.walltime_min,
            chain=entry.submission.chain,
            node_hours=entry.node_hours,
            most_node_hours=entry.most_node_hours,
            jobs=entry.submission.jobs,
        )
        for entry in entries
    ]
    return msgspec.json.format(msgspec.json.encode(reports)).decode() + "\n"


def _to_text(entries: Sequence[Entry]) -> str:
    known = [entry.node_hours for entry in entries if entry.node_hours is not None]
    most = sum(entry.most_node_hours for entry in entries)
    total = ("total", "", "", "", "", "", f"{sum(known):.0f}" if known else "", f"{most:.0f}", "")
    return align([_HEADINGS, *map(_cells, entries), total], _RIGHT)


def _cells(entry: Entry) -> tuple[str, ...]:
    submission = entry.submission
    hours = entry.node_hours
    jobs = format_walltime(submission.walltime_min)
    return (
        entry.row.run_id,
        printable(entry.row.label),
        str(submission.nodes),
        str(submission.global_batch),
        entry.plan.partition.name,
        f"{submission.chain} x {jobs}" if submission.chain > 1 else jobs,
        "" if hours is None else f"{hours:.0f}",
        f"{entry.most_node_hours:.0f}",
        f"job {submission.jobs[0]}" if entry.done else "new",
    )
