"""`hvdtrain collect`: the paper's tables from the records of runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from hvdtrain.collect.formats import Format, format_rows
from hvdtrain.collect.output import write_atomically
from hvdtrain.collect.store import Incomplete, Malformed, read_results
from hvdtrain.collect.tables import Row, make_rows
from hvdtrain.errors import RunError
from hvdtrain.plan.record import Record
from hvdtrain.plan.text import printable


@click.command(epilog="\b\nExample:\n  hvdtrain collect results --format csv --output table.csv")
@click.argument("results", default="results", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="md",
    show_default=True,
    help="md and latex for people; csv and json with every value, unrounded.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output.",
)
def command(results: Path, form: Format, output: Path | None) -> None:
    """Print the table of all runs in the folder RESULTS, beside the paper's Tables V and VI.

    Only completed runs on real images are labelled measured and compared with the paper. The
    efficiency is the throughput per node relative to the base: the run with the fewest nodes of
    the same system, local batch, model and kind. A record that cannot be read is named and
    skipped; the exit code is then 1.
    """
    skipped: list[Malformed] = []
    rows = make_rows(_good_runs(results, skipped))
    text = format_rows(rows, form)
    if output is None:
        click.echo(text.encode(), nl=False)
    else:
        write_atomically(output, text)
    if not rows and not skipped:
        _say(f"no runs in {results}: a run leaves a folder of its own there, with record.json")
    for flag in dict.fromkeys(filter(None, map(_flag, rows))):
        _say(flag)
    if skipped:
        raise RunError(
            f"{len(skipped)} of {len(skipped) + len(rows)} runs were skipped",
            "repair or remove the files named above",
        )


def _good_runs(results: Path, skipped: list[Malformed]) -> Iterator[Record | Incomplete]:
    """The runs that can be believed; the others are named and added to `skipped`."""
    for found in read_results(results):
        if isinstance(found, Malformed):
            skipped.append(found)
            _say(f"skipped {found.path}: {found.reason}")
        else:
            yield found


def _flag(row: Row) -> str | None:
    if row.paper_flag is None:
        return None
    return f"the paper, Table {row.paper_table}, row {row.paper_row}: {row.paper_flag}"


def _say(text: str) -> None:
    click.echo(f"hvdtrain: {printable(text)}", err=True)
