"""`hvdtrain sweep`: submit many runs from one file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli import job_options as job
from hvdtrain.cli.output import LateErrors, print_json, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.sweep_rows import Entry, batches, plan_row, within_limits
from hvdtrain.cli.sweep_table import make_table
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.names import name_some
from hvdtrain.plan.job.sweep import Sweep, load_sweep
from hvdtrain.runs.folder import find_submission
from hvdtrain.runs.names import SCRIPT_FILE
from hvdtrain.slurm.array import render_array
from hvdtrain.slurm.client import script_environ
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.submitting import submit_array, submit_chain

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
@click.argument("file", type=PathType())
@job.request_options
@click.option("--dry-run", is_flag=True, help="Print the list with node-hours; submit nothing.")
@wide_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the list as JSON, with the jobs of each row."
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    file: Path,
    dry_run: bool,
    wide: bool,
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
    planner = job.make_planner(ctx, **options)
    sweep, rows = load_sweep(file)
    entries = [plan_row(planner, row) for row in rows]
    _say_notes(entries)
    if dry_run:
        if as_json:
            print_json([_report(entry) for entry in entries])
        else:
            print_table(make_table(entries), wide)
        return
    missing = [entry for entry in entries if not entry.done]
    now = 0
    lines = LateErrors()
    try:
        for batch in batches(within_limits(missing) if missing else []):
            _submit(sweep, batch, (lambda _: None) if as_json else lines.print_line)
            now += len(batch)
    finally:
        say(
            f"{sweep.name}: {len(entries)} rows, {len(entries) - len(missing)} submitted earlier, "
            f"{now} now, {len(missing) - now} left"
        )
        # What is in the queue is told also where Slurm refuses the next row.
        if as_json:
            print_json([_report(_as_submitted(entry)) for entry in entries])
    if now < len(missing):
        say("call the same command again when some of these jobs have ended")
    lines.finish()


def _say_notes(entries: Sequence[Entry]) -> None:
    """Each note once, with the rows it is about unless it is about all."""
    rows: dict[str, list[str]] = {}
    for entry in entries:
        for note in entry.plan.notes:
            rows.setdefault(note, []).append(entry.row.run_id)
    for note, names in rows.items():
        about = "" if len(names) == len(entries) else f"{name_some(names, 1)}: "
        say(f"note: {about}{note}")


def _submit(sweep: Sweep, batch: Sequence[Entry], tell: Callable[[str], None]) -> None:
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
            tell=lambda number: tell(f"{first.run_id} {number}"),
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
        lambda submission, number: tell(f"{submission.run_id} {number}"),
    )


def _as_submitted(entry: Entry) -> Entry:
    """The row with the jobs that it has by now."""
    found = find_submission(Path(entry.plan.request.results), entry.row.run_id)
    return entry if found is None else dataclasses.replace(entry, submission=found)


def _report(entry: Entry) -> RowReport:
    return RowReport(
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
