"""`hvdtrain status`: how far all runs are."""

from __future__ import annotations

import contextlib
import datetime
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.config import default_results
from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.table_output import draw_table, is_terminal, print_table, wide_option
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.errors import InputError
from hvdtrain.files.fields import unknown_name
from hvdtrain.runs.progress import read_run, read_runs
from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.runs.state import ACTIVE, RunFacts, RunStatus, judge_run
from hvdtrain.slurm.client import find_jobs
from hvdtrain.slurm.command import SlurmError
from hvdtrain.units import format_duration

WATCH_SECONDS = 10.0

_EXAMPLE = """\b
Example:
  hvdtrain status --watch 30
"""


@click.command("status", epilog=_EXAMPLE)
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@click.option("--results", type=PathType(), default=default_results, show_default="results")
@click.option("--json", "as_json", is_flag=True, help="Print every field of every run.")
@click.option(
    "--watch",
    type=click.FloatRange(0.5, 86400),
    is_flag=False,
    flag_value=WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Show it again every {WATCH_SECONDS:g} s, or so often, until no run waits or runs.",
)
@wide_option
def command(
    runs: tuple[str, ...], results: Path, as_json: bool, watch: float | None, wide: bool
) -> None:
    """Print the state of all runs in the results folder, or of these.

    Everything is read from the folders and from one call of squeue. Without Slurm, the states of
    jobs are unknown and the rest is shown.

    \b
    pending, requeued  waiting: for the first time, or to go on
    running            with its step, speed and predicted end
    completed, failed, diverged
    incomplete         cut off; it can go on from its checkpoint
    cancelled          by hvdtrain cancel
    unclear            sbatch was called and no job id is known
    lost               its jobs are gone and left nothing
    unknown            Slurm does not say
    """
    if watch is not None and as_json:
        raise InputError("--watch", watch, "not together with --json")
    if watch is None:
        found = read_status(runs, results)
        print_json(found) if as_json else _print(found, wide)
        return
    with contextlib.suppress(KeyboardInterrupt):
        (_watch_live if is_terminal() else _watch_plain)(runs, results, watch, wide)


def read_status(runs: Sequence[str], results: Path) -> list[RunStatus]:
    """The state of these runs, or of all.

    Raises:
        InputError: There is no such run; or no such folder, and it is not the default.
    """
    # Who has not submitted anything yet has no such folder.
    if not runs and results == default_results() and not results.exists():
        return []
    facts = [_one_run(run, results) for run in runs] if runs else list(read_runs(results))
    queues = _ask_slurm(facts)
    now = time.time()
    return [judge_run(each, queues.get(_cluster(each), {}), now) for each in facts]


def _one_run(run: str, results: Path) -> RunFacts:
    facts = read_run(results / run) if Path(run).name == run else None
    if facts is None:
        known = [each.run_id for each in read_runs(results)]
        if not known:
            raise InputError("RUN", run, f"a run, and {results} has none")
        raise unknown_name("RUN", run, known[:50])
    return facts


def _cluster(facts: RunFacts) -> str | None:
    return facts.submission.cluster if facts.submission else None


def _ask_slurm(facts: Sequence[RunFacts]) -> dict[str | None, Mapping[str, SlurmJob] | None]:
    """What each cluster knows of the jobs of all runs that have not ended; None: it does not say.

    Two clusters may have given the same number.
    """
    jobs: dict[str | None, list[str]] = {}
    for each in facts:
        if each.submission is not None and (
            each.ended is None or each.ended.status in ("failed", "interrupted")
        ):
            jobs.setdefault(_cluster(each), []).extend(each.submission.jobs)
    queues: dict[str | None, Mapping[str, SlurmJob] | None] = {}
    for cluster, numbers in jobs.items():
        try:
            queues[cluster] = find_jobs(numbers, cluster)
        except SlurmError as error:
            say(f"the states of jobs are unknown: {error.message}")
            queues[cluster] = None
    return queues


def make_table(runs: Sequence[RunStatus]) -> Table[RunStatus]:
    """The runs, one a row."""
    return Table(columns=_COLUMNS, rows=tuple(runs))


def _print(runs: Sequence[RunStatus], wide: bool) -> None:
    if runs:
        print_table(make_table(runs), wide)
    else:
        say("there are no runs")


def _why(run: RunStatus) -> str:
    slow = f"slow: {', '.join(run.stragglers)}" if run.stragglers else ""
    return "; ".join(filter(None, (run.reason, slow))).partition("\n")[0][:100]


def _step(run: RunStatus) -> str:
    return str(run.step) if run.steps is None else f"{run.step}/{run.steps}"


def _epoch(run: RunStatus) -> str:
    return "" if run.epochs is None else f"{run.epoch}/{math.ceil(run.epochs)}"


def _speed(images_per_second: float | None) -> str:
    return "" if images_per_second is None else f"{images_per_second:.1f}"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)


def _clock(seconds: float | None) -> str:
    """A time of this place."""
    if seconds is None:
        return ""
    try:
        return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return ""


_COLUMNS: tuple[Column[RunStatus], ...] = (
    Column("run", lambda run: run.run, shown="narrow"),
    Column("state", lambda run: run.state, shown="narrow"),
    Column("job", lambda run: run.job, shown="narrow"),
    Column("step", _step, number=True, shown="narrow"),
    Column("epoch", _epoch, number=True),
    Column("images/s", lambda run: run.images_per_second, _speed, number=True),
    Column("left", lambda run: run.seconds_left, _left, number=True, shown="narrow"),
    Column("ends", lambda run: run.ends, _clock),
    Column("why", _why, shown="narrow"),
)


def _watch_plain(runs: Sequence[str], results: Path, seconds: float, wide: bool) -> None:
    found = read_status(runs, results)
    _print(found, wide)
    while any(run.state in ACTIVE for run in found):
        time.sleep(seconds)
        found = read_status(runs, results)
        print_text("\n")
        _print(found, wide)


def _watch_live(runs: Sequence[str], results: Path, seconds: float, wide: bool) -> None:
    from rich.live import Live
    from rich.table import Table as Drawing

    def draw(found: Sequence[RunStatus]) -> Drawing:
        drawing = draw_table(make_table(found), wide)
        drawing.caption = f"{datetime.datetime.now():%H:%M:%S}"
        return drawing

    found = read_status(runs, results)
    with Live(draw(found), auto_refresh=False) as live:
        while any(run.state in ACTIVE for run in found):
            time.sleep(seconds)
            found = read_status(runs, results)
            live.update(draw(found), refresh=True)
