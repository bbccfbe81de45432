"""`hvdtrain report`: one page of HTML about all runs, as a file or live."""

from __future__ import annotations

import datetime
import signal
from collections.abc import Sequence
from pathlib import Path

import click

from hvdtrain import __version__
from hvdtrain.cli.config import default_results
from hvdtrain.cli.output import print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.readable_runs import readable_ensembles, readable_runs, refuse_skipped
from hvdtrain.collect.report.html import Live, render_page
from hvdtrain.collect.report.page import Source, make_page
from hvdtrain.collect.report.serve import ReportServer
from hvdtrain.errors import InputError
from hvdtrain.files.atomic import write_output
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete, Malformed, read_ensembles, read_results

_PORT = 8733
_LIVE_SECONDS = 3
_EXAMPLE = """\b
Example:
  hvdtrain report results -o report.html
"""


@click.command(epilog=_EXAMPLE)
@click.argument("results", default=default_results, type=PathType())
@click.option(
    "--output",
    "-o",
    type=PathType(dir_okay=False, allow_dash=True),
    help="The file to write; - is standard output.",
)
@click.option(
    "--serve",
    "port",
    is_flag=False,
    flag_value=_PORT,
    type=click.IntRange(0, 65_535),
    metavar="[PORT]",
    help=f"Show it live on this machine, on this port (default {_PORT}; 0: any), until Ctrl-C.",
)
def command(results: Path, output: Path | None, port: int | None) -> None:
    """Make one page of HTML about all runs in the folder RESULTS.

    It holds the table of all runs, the paper's tables and figures with the runs in them, and for
    each run its curves, ranks, core map, script and environment. The page needs no network and
    no other file. A record that cannot be read is named there and skipped; the exit code is then
    1.
    """
    if (output is None) == (port is None):
        given = None if output is None else f"{output} with --serve"
        raise InputError("--output", given, "either a file or --serve", "-o report.html")
    if port is not None:
        _serve(results, port)
    elif output is not None:
        _write(results, output)


def _write(results: Path, output: Path) -> None:
    skipped: list[Malformed] = []
    runs = list(readable_runs(results, skipped))
    ensembles = list(readable_ensembles(results, skipped))
    html = render_page(make_page(_source(results, runs, ensembles, skipped)))
    if str(output) == "-":
        print_text(html)
    else:
        write_output(output, html)
        say(f"wrote {output}; runs: {len(runs)}")
    refuse_skipped(skipped, len(runs))


def _serve(results: Path, port: int) -> None:
    # Now, not when the first browser comes: a folder that is not there is wrong input.
    next(read_results(results), None)
    server = ReportServer(results, port, lambda state: _render_live(results, state))
    say(f"{results} is at {server.address} until Ctrl-C")
    # A job's or a shell's SIGTERM ends it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.server_close()


def _render_live(results: Path, state: str) -> str:
    """The page now. What cannot be read is named in it, not over and over on the terminal."""
    skipped: list[Malformed] = []
    runs: list[Record | Incomplete] = []
    ensembles: list[tuple[str, Ensemble]] = []
    for run in read_results(results):
        skipped.append(run) if isinstance(run, Malformed) else runs.append(run)
    for ensemble in read_ensembles(results):
        skipped.append(ensemble) if isinstance(ensemble, Malformed) else ensembles.append(ensemble)
    page = make_page(_source(results, runs, ensembles, skipped))
    return render_page(page, Live(state=state, seconds=_LIVE_SECONDS))


def _source(
    results: Path,
    runs: Sequence[Record | Incomplete],
    ensembles: Sequence[tuple[str, Ensemble]],
    skipped: Sequence[Malformed],
) -> Source:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Source(
        results=results,
        runs=runs,
        ensembles=ensembles,
        skipped=skipped,
        made=now,
        version=__version__,
    )
