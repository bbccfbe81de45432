"""A collected table as columns: the paper's, in the paper's order, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from hvdtrain.collect.paper.column import PaperColumn
from hvdtrain.collect.paper.row import Quantity
from hvdtrain.collect.paper.tables import PaperTable
from hvdtrain.collect.tables.paper_rows import (
    RESULTS,
    TIMES,
    Compared,
    Provenance,
    ReproducedRow,
)
from hvdtrain.collect.tables.rounding import format_signed, format_spread
from hvdtrain.collect.tables.table import Column, Table, Value
from hvdtrain.names import name_some

# Epochs and the like are whole; these are rounded for people, where the column does not say how.
_DECIMALS: dict[Quantity, int] = {
    **dict.fromkeys(TIMES, 1),
    "images_per_second": 1,
    "epoch_seconds": 1,
    "top1_percent": 2,
    "top5_percent": 2,
    "loss": 4,
}


def make_reproduced_table(table: PaperTable, rows: Sequence[ReproducedRow]) -> Table[ReproducedRow]:
    """A table of the paper with these rows."""
    return Table(
        title=f"Table {table.table}. {table.title}",
        name=table.table,
        columns=(
            Column("table", lambda _: table.table, field="table", shown="data"),
            Column("row", lambda row: row.paper.row, field="row", shown="data"),
            *_columns(table, rows),
            *_PROVENANCE_COLUMNS,
        ),
        rows=tuple(rows),
        notes=notes_of(table),
    )


def notes_of(table: PaperTable) -> tuple[str, ...]:
    """What is under a table: why some of the printed values have a star."""
    return tuple(
        f"* row {cell.row}, {cell.heading}: {cell.flag}" for cell in table.cells() if cell.flag
    )


def _columns(table: PaperTable, rows: Sequence[ReproducedRow]) -> Iterator[Column[ReproducedRow]]:
    first = 0
    for column in table.column:
        cells = slice(first, first + len(column.quantity))
        first = cells.stop
        yield Column(column.heading, _own_cell(column, cells), number=True, shown="narrow")
        if RESULTS.intersection(column.quantity):
            spreads = any(c.spread_percent is not None for row in rows for c in row.cells[cells])
            yield from _result_columns(table, column, cells, spreads)
        for position, quantity in enumerate(column.quantity, start=cells.start):
            yield from _data_columns(quantity, position)


def _data_columns(quantity: Quantity, position: int) -> Iterator[Column[ReproducedRow]]:
    """What programs get of a quantity: unrounded, also where two share a column of the paper."""
    fields: dict[str, Callable[[Compared], Value]] = {quantity: lambda cell: cell.value}
    if quantity in RESULTS:
        fields[f"{quantity}_paper"] = lambda cell: cell.paper
        fields[f"{quantity}_difference_percent"] = lambda cell: cell.difference_percent
        fields[f"{quantity}_spread_percent"] = lambda cell: cell.spread_percent
    for field, value in fields.items():
        yield Column(field, partial(_of_cell, position, value), field=field, shown="data")


def _of_cell(position: int, value: Callable[[Compared], Value], row: ReproducedRow) -> Value:
    return value(row.cells[position])


def _own_cell(column: PaperColumn, cells: slice) -> Callable[[ReproducedRow], str]:
    decimals = max((_DECIMALS[q] for q in column.quantity if q in _DECIMALS), default=None)

    def cell(row: ReproducedRow) -> str:
        values = [_whole(compared.value) for compared in row.cells[cells]]
        if row.provenance is None and RESULTS.intersection(column.quantity):
            return ""
        if all(value is None for value in values):
            return ""
        return column.format_values(*values, decimals=decimals)

    return cell


def _result_columns(
    table: PaperTable, column: PaperColumn, cells: slice, spreads: bool
) -> list[Column[ReproducedRow]]:
    """What stands beside a column of results: the paper's cell, the difference, the spread."""

    def paper(row: ReproducedRow) -> str:
        if list(map(row.paper.value, column.quantity)) != [c.paper for c in row.cells[cells]]:
            return ""  # printed, and of another job
        flagged = any(row.paper.reason(quantity) for quantity in column.quantity)
        return table.printed(row.paper, column) + ("*" if flagged else "")

    def difference(row: ReproducedRow) -> str:
        found = [cell.difference_percent for cell in row.cells[cells]]
        return "/".join(format_signed(value) for value in found if value is not None)

    def spread(row: ReproducedRow) -> str:
        found = [cell.spread_percent for cell in row.cells[cells]]
        return "/".join(format_spread(value) for value in found if value is not None)

    beside: list[Column[ReproducedRow]] = [
        Column("paper", paper, number=True, shown="narrow"),
        Column("difference", difference, unit="%", number=True, shown="narrow"),
    ]
    return [*beside, Column("spread", spread, unit="%", number=True)] if spreads else beside


def _whole(value: Value) -> float | str | None:
    """A median of counts without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_runs(value: Callable[[Provenance], Value]) -> Callable[[ReproducedRow], Value]:
    return lambda row: None if row.provenance is None else value(row.provenance)


_PROVENANCE_COLUMNS: tuple[Column[ReproducedRow], ...] = (
    Column("run", _of_runs(lambda p: name_some(p.run_ids, 1)), shown="narrow"),
    Column(
        "runs",
        lambda row: len(row.provenance.run_ids) if row.provenance else 0,
        field="runs",
        shown="data",
    ),
    Column("names", _of_runs(lambda p: ", ".join(p.run_ids)), field="run_ids", shown="data"),
    Column("date", _of_runs(lambda p: p.date), field="date"),
    Column("system", _of_runs(lambda p: p.system), field="system"),
    Column("kind", _of_runs(lambda p: p.kind), field="kind"),
    Column("paper flag", lambda row: row.paper.flags, field="paper_flag", shown="data"),
)
