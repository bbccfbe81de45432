"""`hvdtrain collect`: the paper's tables from the records of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import click

from hvdtrain.cli.completion import complete_run
from hvdtrain.cli.config import default_results
from hvdtrain.cli.output import print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.readable_runs import readable_ensembles, readable_runs, refuse_skipped
from hvdtrain.cli.table_output import draw_tables, is_terminal, wide_option
from hvdtrain.collect.mllog import MISSING, format_mllog
from hvdtrain.collect.paper.tables import TABLES, TableNumber
from hvdtrain.collect.runs import Run, make_run
from hvdtrain.collect.tables.compare_table import make_compare_table
from hvdtrain.collect.tables.formats import Format, format_tables
from hvdtrain.collect.tables.groups_table import FIELDS, Field, make_groups_table
from hvdtrain.collect.tables.paper_table import make_paper_table
from hvdtrain.collect.tables.runs_table import Row, make_rows, make_runs_table
from hvdtrain.collect.tables.table import Table
from hvdtrain.errors import InputError
from hvdtrain.files.atomic import write_output
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Kind
from hvdtrain.runs.store import Malformed, find_record


@click.command(
    epilog="\b\nExample:\n"
    "  hvdtrain collect results --table V\n"
    "  hvdtrain collect results --format csv --output table.csv"
)
@click.argument("results", default=default_results, type=PathType())
@click.option(
    "--table",
    "number",
    type=click.Choice([*TABLES, "all"]),
    help="A table of the paper, with your runs in its rows; all: every one of them.",
)
@click.option(
    "--only",
    type=click.Choice(get_args(Kind)),
    help="Leave out all but the completed runs of this kind.",
)
@click.option(
    "--group-by",
    "fields",
    multiple=True,
    type=click.Choice(FIELDS),
    help="Put the completed runs together that agree in this; may be given several times.",
)
@click.option(
    "--compare",
    "second",
    metavar="RESULTS2",
    type=PathType(),
    help="A second folder of runs: what changed, job by job, and whether it is more than noise.",
)
@click.option(
    "--mllog",
    metavar="RUN",
    shell_complete=complete_run,
    help="Print the MLPerf log of one run, by the name of its folder; nothing else.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    help="md, latex and html for people; csv and json with every value, unrounded. Default: drawn "
    "to its width on a terminal, md elsewhere.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@wide_option
@click.option(
    "--output",
    type=PathType(dir_okay=False),
    help="Write to this file instead of standard output.",
)
def command(
    results: Path,
    number: TableNumber | Literal["all"] | None,
    only: Kind | None,
    fields: tuple[Field, ...],
    second: Path | None,
    mllog: str | None,
    form: Format | None,
    wide: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Print the table of all runs in the folder RESULTS, or the paper's tables with them.

    Without --table there is one row for each run. Only completed runs on real images are labelled
    measured and compared with the paper. The efficiency is the throughput per node relative to
    the base: the run with the fewest nodes of the same system, local batch, model and kind.

    With --table the completed runs stand in the paper's rows, with the paper's value, the
    difference, and where they come from. Tables whose title names a system take runs on that
    system. Several runs of one job give their median; the spread is from the smallest to the
    largest value, in percent of the median. A change is noise unless it is larger than the spreads
    of both sets together.

    A record that cannot be read is named and skipped; the exit code is then 1.
    """
    _check_views({"--table": number, "--group-by": fields, "--compare": second, "--mllog": mllog})
    if mllog is not None:
        _write(format_mllog(find_record(results, mllog, "--mllog")), output)
        say(f"an MLPerf log of the open division: {MISSING}")
        return
    collection = _Collection(only)
    runs = collection.read(results)
    if second is not None:
        tables: list[Table[Any]] = [make_compare_table(runs, collection.read(second))]
    elif number is not None:
        numbers = TABLES if number == "all" else (number,)
        ensembles = collection.read_ensembles(results) if "XI" in numbers else []
        tables = [make_paper_table(each, runs, ensembles) for each in numbers]
    elif fields:
        tables = [make_groups_table(runs, fields)]
    else:
        tables = [make_runs_table(make_rows(runs))]
    if as_json:
        form = "json"
    if form is None and output is None and is_terminal():
        print_text(draw_tables(tables, wide))
    else:
        _write(format_tables(tables, form or "md"), output)
    _say_flags(tables)
    collection.finish()


def _check_views(given: dict[str, object]) -> None:
    first, *others = [name for name, value in given.items() if value] or [""]
    if others:
        raise InputError(others[0], str(given[others[0]]), f"not together with {first}")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print_text(text)
    else:
        write_output(output, text)


class _Collection:
    """The runs of one or two folders: what was kept, and what could not be believed."""

    def __init__(self, only: Kind | None) -> None:
        self._only = only
        self._good = 0
        self._skipped: list[Malformed] = []

    def read(self, results: Path) -> list[Run]:
        """The runs that can be believed and are asked for; the others are named."""
        before = self._good + len(self._skipped)
        runs = [make_run(found) for found in readable_runs(results, self._skipped)]
        self._good += len(runs)
        if self._good + len(self._skipped) == before:
            say(f"no runs in {results}: a run leaves a folder of its own there, with record.json")
        return [run for run in runs if self._only is None or run.label == self._only]

    def read_ensembles(self, results: Path) -> list[tuple[str, Ensemble]]:
        """The ensembles that can be believed and are asked for; the others are named."""
        found = readable_ensembles(results, self._skipped)
        return [one for one in found if self._only is None or one[1].kind == self._only]

    def finish(self) -> None:
        """Raise RunError if any run was skipped: the tables are right, and not whole."""
        refuse_skipped(self._skipped, self._good)


def _say_flags(tables: list[Table[Any]]) -> None:
    """What in the paper disagrees with itself about rows that runs are compared with."""
    rows = [row for table in tables for row in table.rows if isinstance(row, Row)]
    flags = [
        f"the paper, Table {row.paper_table}, row {row.paper_row}: {row.paper_flag}"
        for row in rows
        if row.paper_flag is not None
    ]
    for flag in dict.fromkeys(flags):
        say(flag)
