"""`hvdtrain status`: how far all runs are."""

from __future__ import annotations

import contextlib
import datetime
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.output import align, say
from hvdtrain.errors import InputError
from hvdtrain.files.fields import printable, unknown_name
from hvdtrain.runs.progress import read_run, read_runs
from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.runs.state import ACTIVE, RunFacts, RunStatus, judge_run
from hvdtrain.slurm.client import SlurmError, find_jobs
from hvdtrain.units import format_duration

WATCH_SECONDS = 10.0

_HEADINGS = ("run", "state", "job", "step", "epoch", "images/s", "left", "ends", "why")
_RIGHT = frozenset({"step", "epoch", "images/s", "left"})
_EXAMPLE = """\b
Example:
  hvdtrain status --watch 30
"""


@click.command("status", epilog=_EXAMPLE)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print every field of every run.")
@click.option(
    "--watch",
    type=click.FloatRange(0.5, 86400),
    is_flag=False,
    flag_value=WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Show it again every {WATCH_SECONDS:g} s, or so often, until no run waits or runs.",
)
def command(runs: tuple[str, ...], results: Path, as_json: bool, watch: float | None) -> None:
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
        _print(_to_json(found) if as_json else _to_text(found))
        return
    with contextlib.suppress(KeyboardInterrupt):
        (_watch_live if sys.stdout.isatty() else _watch_plain)(runs, results, watch)


def read_status(runs: Sequence[str], results: Path) -> list[RunStatus]:
    """The state of these runs, or of all.

    Raises:
        InputError: There is no such run, or no such folder.
    """
    facts = [_one_run(run, results) for run in runs] if runs else list(read_runs(results))
    queue = _ask_slurm(facts)
    now = time.time()
    return [judge_run(each, queue, now) for each in facts]


def _one_run(run: str, results: Path) -> RunFacts:
    facts = read_run(results / run) if Path(run).name == run else None
    if facts is None:
        known = [each.run_id for each in read_runs(results)]
        if not known:
            raise InputError("RUN", run, f"a run, and {results} has none")
        raise unknown_name("RUN", run, known[:50])
    return facts


def _ask_slurm(facts: Sequence[RunFacts]) -> Mapping[str, SlurmJob] | None:
    """What Slurm knows of the jobs of all runs that have not ended; None: it does not say."""
    jobs = [
        job
        for each in facts
        if each.submission is not None
        and (each.ended is None or each.ended.status in ("failed", "interrupted"))
        for job in each.submission.jobs
    ]
    try:
        return find_jobs(jobs)
    except SlurmError as error:
        say(f"the states of jobs are unknown: {error.message}")
        return None


def _to_json(runs: Sequence[RunStatus]) -> str:
    return msgspec.json.format(msgspec.json.encode(runs)).decode() + "\n"


def _to_text(runs: Sequence[RunStatus]) -> str:
    if not runs:
        say("there are no runs")
        return ""
    return align([_HEADINGS, *map(_cells, runs)], _RIGHT)


def _cells(run: RunStatus) -> tuple[str, ...]:
    why = "; ".join(
        filter(None, (run.reason, f"slow: {', '.join(run.stragglers)}" if run.stragglers else ""))
    )
    return (
        printable(run.run),
        run.state,
        run.job or "",
        f"{run.step}/{run.steps}" if run.steps is not None else str(run.step),
        f"{run.epoch}/{math.ceil(run.epochs)}" if run.epochs is not None else "",
        f"{run.images_per_second:.1f}" if run.images_per_second is not None else "",
        format_duration(run.seconds_left) if run.seconds_left is not None else "",
        _clock(run.ends),
        printable(why.partition("\n")[0])[:100],
    )


def _clock(seconds: float | None) -> str:
    """A time of this place."""
    if seconds is None:
        return ""
    try:
        return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return ""


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _watch_plain(runs: Sequence[str], results: Path, seconds: float) -> None:
    found = read_status(runs, results)
    _print(_to_text(found))
    while any(run.state in ACTIVE for run in found):
        time.sleep(seconds)
        found = read_status(runs, results)
        _print("\n" + _to_text(found))


def _watch_live(runs: Sequence[str], results: Path, seconds: float) -> None:
    from rich import box
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def draw(found: Sequence[RunStatus]) -> Table:
        table = Table(box=box.SIMPLE, caption=f"{datetime.datetime.now():%H:%M:%S}")
        for heading in _HEADINGS:
            table.add_column(heading, justify="right" if heading in _RIGHT else "left")
        for run in found:
            table.add_row(*map(Text, _cells(run)))
        return table

    found = read_status(runs, results)
    with Live(draw(found), console=Console(), auto_refresh=False) as live:
        while any(run.state in ACTIVE for run in found):
            time.sleep(seconds)
            found = read_status(runs, results)
            live.update(draw(found), refresh=True)
