"""The rows of a collected table: a row of the paper, and the runs that reproduce it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hvdtrain.collect.paper.row import PaperRow, Quantity
from hvdtrain.collect.paper.tables import PaperTable
from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.rounding import difference_percent, median, spread_percent
from hvdtrain.collect.tables.table import Value
from hvdtrain.runs.record import Kind

TARGET_EPOCHS: dict[Quantity, int] = {
    "minutes_to_75_5_percent": 48,
    "minutes_to_76_percent": 64,
    "minutes_to_76_5_percent": 78,
}
"""Epochs that an accuracy needs with the collapsed ensemble. Source: Sections IV-D and VI."""

TIMES: frozenset[Quantity] = frozenset({"minutes_to_train", *TARGET_EPOCHS})
"""What the machine decides, besides the throughput."""

RESULTS: frozenset[Quantity] = TIMES | {
    "iterations",
    "loss",
    "top1_percent",
    "top5_percent",
    "images_per_second",
    "epoch_seconds",
}
"""What a run results in; the other quantities say which run it is."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a row, beside the paper's.

    Attributes:
        value: Of the runs; their median where there are several. None: they do not tell.
        paper: As printed; None: the paper has none, or none that can be compared.
        difference_percent: Of the value from the paper's. Only of what a run results in.
        spread_percent: From the smallest to the largest value, in percent of the median; None:
            fewer than two.
    """

    value: Value
    paper: Value
    difference_percent: float | None = None
    spread_percent: float | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the values of a row come from.

    Attributes:
        run_ids: The runs, in order of their names.
        date: Day on which the last of them started, UTC.
        system: Where they ran.
        kind: `measured`, `synthetic` or `forecast`.
    """

    run_ids: tuple[str, ...]
    date: str
    system: str
    kind: Kind


class ReproducedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the paper, and the runs that reproduce it on one system.

    Attributes:
        paper: The row as printed.
        cells: One for each quantity of the table, in its order.
        provenance: None: no run reproduces the row.
    """

    paper: PaperRow
    cells: tuple[Compared, ...]
    provenance: Provenance | None


def make_empty_row(table: PaperTable, row: PaperRow) -> ReproducedRow:
    """A row that no run reproduces."""
    printed = [(quantity, row.value(quantity)) for quantity in table.quantities]
    cells = [Compared(value=None if q in RESULTS else value, paper=value) for q, value in printed]
    return ReproducedRow(paper=row, cells=tuple(cells), provenance=None)


def make_reproduced_row(
    table: PaperTable,
    row: PaperRow,
    values: Sequence[Sequence[Value]],
    provenance: Provenance,
    same_job: bool = True,
) -> ReproducedRow:
    """A row with the runs that reproduce it.

    Args:
        table: The paper's table.
        row: The row of it that the runs reproduce.
        values: Of each run, one value for each quantity of the table.
        provenance: Which runs these are, on what.
        same_job: Whether their times can be compared with the paper's.
    """
    cells = []
    for quantity, of_runs in zip(table.quantities, zip(*values, strict=True), strict=True):
        paper = row.value(quantity)
        if quantity in TIMES and not same_job:
            paper = None
        cells.append(_compare(quantity, of_runs, paper))
    return ReproducedRow(paper=row, cells=tuple(cells), provenance=provenance)


def provenance_of(runs: Sequence[Run]) -> Provenance:
    """Where the values of some runs of one system and kind come from."""
    return Provenance(
        run_ids=tuple(sorted(run.run_id for run in runs)),
        date=max(run.date for run in runs),
        system=runs[0].system,
        kind=runs[0].kind,
    )


def _compare(quantity: Quantity, values: Sequence[Value], paper: Value) -> Compared:
    if quantity not in RESULTS:
        return Compared(value=values[0], paper=paper)
    numbers = [value for value in values if isinstance(value, int | float)]
    middle = median(numbers)
    return Compared(
        value=middle,
        paper=paper,
        difference_percent=(
            difference_percent(middle, paper) if isinstance(paper, int | float) else None
        ),
        spread_percent=spread_percent(numbers),
    )
