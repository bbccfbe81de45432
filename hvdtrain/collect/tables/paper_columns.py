"""A collected table as columns: the paper's, in the paper's order, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hvdtrain.collect.paper.column import PaperColumn
from hvdtrain.collect.paper.row import Quantity
from hvdtrain.collect.paper.tables import PaperTable
from hvdtrain.collect.tables.paper_rows import RESULTS, TIMES, Line, Provenance
from hvdtrain.collect.tables.rounding import format_signed, format_spread
from hvdtrain.collect.tables.table import Column, Sheet, Value

# Epochs and the like are whole; these are rounded for people, where the column does not say how.
_DECIMALS: dict[Quantity, int] = {
    **dict.fromkeys(TIMES, 1),
    "images_per_second": 1,
    "epoch_seconds": 1,
    "top1_percent": 2,
    "top5_percent": 2,
    "loss": 4,
}


def make_line_sheet(table: PaperTable, lines: Sequence[Line]) -> Sheet[Line]:
    """The table with these lines, for people and for programs."""
    return Sheet(
        title=f"Table {table.table}. {table.title}",
        name=table.table,
        columns=_columns(table, lines),
        fields=_fields(table),
        values=lambda line: _values(table, line),
        rows=tuple(lines),
        notes=notes_of(table),
    )


def notes_of(table: PaperTable) -> tuple[str, ...]:
    """What is under a table: why some of the printed values have a star."""
    return tuple(
        f"* row {cell.row}, {cell.heading}: {cell.flag}" for cell in table.cells() if cell.flag
    )


def _fields(table: PaperTable) -> tuple[str, ...]:
    names = ["table", "row"]
    for quantity in table.quantities:
        names += [quantity]
        if quantity in RESULTS:
            names += [
                f"{quantity}_{what}" for what in ("paper", "difference_percent", "spread_percent")
            ]
    return (*names, "runs", "run_ids", "date", "system", "kind", "paper_flag")


def _values(table: PaperTable, line: Line) -> tuple[Value, ...]:
    values: list[Value] = [table.table, line.row.row]
    for quantity, cell in zip(table.quantities, line.cells, strict=True):
        values.append(cell.value)
        if quantity in RESULTS:
            values += [cell.paper, cell.difference_percent, cell.spread_percent]
    flags = "; ".join(flag.reason for flag in line.row.flag) or None
    return (*values, *_provenance_values(line.provenance), flags)


def _provenance_values(provenance: Provenance | None) -> tuple[Value, ...]:
    if provenance is None:
        return 0, None, None, None, None
    return (
        len(provenance.run_ids),
        ", ".join(provenance.run_ids),
        provenance.date,
        provenance.system,
        provenance.kind,
    )


def _columns(table: PaperTable, lines: Sequence[Line]) -> tuple[Column[Line], ...]:
    columns: list[Column[Line]] = []
    first = 0
    for column in table.column:
        cells = slice(first, first + len(column.quantity))
        first = cells.stop
        columns.append(Column(column.heading, _own_cell(column, cells), number=True))
        if RESULTS.intersection(column.quantity):
            spreads = any(c.spread_percent is not None for line in lines for c in line.cells[cells])
            columns += _result_columns(table, column, cells, spreads)
    return (*columns, *_PROVENANCE_COLUMNS)


def _own_cell(column: PaperColumn, cells: slice) -> Callable[[Line], str]:
    decimals = max((_DECIMALS[q] for q in column.quantity if q in _DECIMALS), default=None)

    def cell(line: Line) -> str:
        values = [_whole(compared.value) for compared in line.cells[cells]]
        if line.provenance is None and RESULTS.intersection(column.quantity):
            return ""
        if all(value is None for value in values):
            return ""
        return column.format_values(*values, decimals=decimals)

    return cell


def _result_columns(
    table: PaperTable, column: PaperColumn, cells: slice, spreads: bool
) -> list[Column[Line]]:
    """What stands beside a column of results: the paper's cell, the difference, the spread."""

    def paper(line: Line) -> str:
        if list(map(line.row.value, column.quantity)) != [c.paper for c in line.cells[cells]]:
            return ""  # printed, and of another job
        flagged = any(line.row.reason(quantity) for quantity in column.quantity)
        return table.printed(line.row, column) + ("*" if flagged else "")

    def difference(line: Line) -> str:
        found = [cell.difference_percent for cell in line.cells[cells]]
        return "/".join(format_signed(value) for value in found if value is not None)

    def spread(line: Line) -> str:
        found = [cell.spread_percent for cell in line.cells[cells]]
        return "/".join(format_spread(value) for value in found if value is not None)

    beside = [
        Column("paper", paper, number=True),
        Column("difference %", difference, number=True),
    ]
    return [*beside, Column("spread %", spread, number=True)] if spreads else beside


def _whole(value: Value) -> float | str | None:
    """A median of counts without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _runs_cell(line: Line) -> str:
    if line.provenance is None:
        return ""
    first, *more = line.provenance.run_ids
    return f"{first} and {len(more)} more" if more else first


_PROVENANCE_COLUMNS: tuple[Column[Line], ...] = (
    Column("run", _runs_cell),
    Column("date", lambda line: line.provenance.date if line.provenance else ""),
    Column("system", lambda line: line.provenance.system if line.provenance else ""),
    Column("kind", lambda line: line.provenance.kind if line.provenance else ""),
)
