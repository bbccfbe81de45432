"""The whole report as typed data, before it is HTML."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.collect.figures.accuracy import make_accuracy_figure, read_accuracies
from hvdtrain.collect.figures.scaling import make_scaling_figure
from hvdtrain.collect.figures.schedule import make_paper_schedule_figure
from hvdtrain.collect.paper.tables import TABLES
from hvdtrain.collect.report.chart import Chart, make_chart
from hvdtrain.collect.report.grid import Grid, make_paper_grid, make_runs_grid
from hvdtrain.collect.report.run_page import Limits, RunPage, make_run_page
from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.paper_table import make_paper_table
from hvdtrain.collect.tables.runs_table import Row, make_rows
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete, Malformed

# Points and rows of all runs together: some 5 MB of page.
_POINTS = 120_000
_EPOCHS = 12_000
# The batches of the paper's Figures 3 and 4. Source: captions, Section VI.
_DRAWN = (("large-batch-107", 65_536), ("collapsed-ensemble-120", 4_096))


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """A best value: what it is, the value, and the run that has it."""

    term: str
    text: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """The report.

    Attributes:
        results: Folder of all runs, as it was given.
        made: When the page was made, UTC, ISO 8601.
        version: Version of hvdtrain.
        counts: Labels of the runs, and how many have each.
        highlights: The best values of measured runs.
        skipped: What could not be read, and why.
        runs: The table of all runs.
        tables: The paper's tables, with the runs in their rows.
        charts: The paper's figures with the runs over them.
        pages: One page for each run.
        links: From a run's name to the id of its page.
    """

    results: str
    made: str
    version: str
    counts: tuple[tuple[str, int], ...]
    highlights: tuple[Highlight, ...]
    skipped: tuple[Malformed, ...]
    runs: Grid
    tables: tuple[Grid, ...]
    charts: tuple[Chart, ...]
    pages: tuple[RunPage, ...]
    links: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a report is made of.

    Attributes:
        results: Folder of all runs.
        runs: Runs whose files can be read.
        ensembles: Likewise, each with its folder's name.
        skipped: Runs that cannot be read, each with the reason.
        made: When the page was made, UTC, ISO 8601.
        version: Version of hvdtrain.
    """

    results: Path
    runs: Sequence[Record | Incomplete]
    ensembles: Sequence[tuple[str, Ensemble]]
    skipped: Sequence[Malformed]
    made: str
    version: str


def make_page(source: Source) -> Page:
    """Read what the runs left besides their records, and lay out the report."""
    runs = [make_run(run) for run in source.runs]
    rows = make_rows(runs)
    by_id = {run.run_id: run for run in source.runs}
    names = {row.run_id: _id_of(row.run_id) for row in rows}
    return Page(
        results=str(source.results),
        made=source.made,
        version=source.version,
        counts=tuple(Counter(row.label for row in rows).most_common()),
        highlights=_highlights(rows),
        skipped=tuple(source.skipped),
        runs=make_runs_grid(rows, names),
        tables=tuple(
            make_paper_grid(make_paper_table(number, runs, source.ensembles), names)
            for number in TABLES
        ),
        charts=_charts(source, rows),
        links=names,
        pages=tuple(
            make_run_page(
                by_id[row.run_id],
                source.results,
                names[row.run_id],
                row.label,
                _limits(len(rows)),
            )
            for row in rows
        ),
    )


def _id_of(run_id: str) -> str:
    """An id without special characters that stays the same when other runs come."""
    return "run-" + hashlib.sha256(run_id.encode(errors="surrogatepass")).hexdigest()[:12]


def _limits(runs: int) -> Limits:
    """The more runs, the less of each."""
    return Limits(
        points=min(400, max(40, _POINTS // (4 * runs))), epochs=min(120, max(10, _EPOCHS // runs))
    )


def _highlights(rows: Sequence[Row]) -> tuple[Highlight, ...]:
    """The best of the measured runs: nothing else is a result."""
    measured = [row for row in rows if row.label == "measured"]
    found = []
    if best := _best(measured, lambda row: row.epoch_seconds):
        text = f"{best.epoch_seconds:.1f} s"
        found.append(Highlight(term="Shortest epoch", text=text, run_id=best.run_id))
    if best := _best(measured, lambda row: row.images_per_second, sign=-1):
        text = f"{best.images_per_second:.0f} images/s"
        found.append(Highlight(term="Highest throughput", text=text, run_id=best.run_id))
    if best := _best(measured, lambda row: row.difference_percent):
        text = f"{best.difference_percent:+.1f} % (Table {best.paper_table}, row {best.paper_row})"
        term = "Best epoch time beside the paper's"
        found.append(Highlight(term=term, text=text, run_id=best.run_id))
    return tuple(found)


def _best(
    rows: Sequence[Row], value_of: Callable[[Row], float | None], sign: int = 1
) -> Row | None:
    """The row with the lowest value, or the highest where `sign` is -1; None: none has one."""
    pairs = [(sign * value, row) for row in rows if (value := value_of(row)) is not None]
    return min(pairs, key=lambda pair: pair[0])[1] if pairs else None


def _charts(source: Source, rows: Sequence[Row]) -> tuple[Chart, ...]:
    figures = [
        make_scaling_figure(rows),
        make_accuracy_figure(read_accuracies(source.results, source.runs)),
        *(make_paper_schedule_figure(load_recipe(name, "RECIPE"), batch) for name, batch in _DRAWN),
    ]
    return tuple(
        make_chart(figure, f"figure-{number}") for number, figure in enumerate(figures, start=1)
    )
