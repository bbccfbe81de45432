"""The paper's tables with the user's runs in them: the paper's columns in the paper's order.

Each row of the paper is there, with a line for every system and kind of run that repeats it, or
one line without a value. Several runs of one job give their median and their spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from hvdtrain.collect.match import belongs, repeats_job
from hvdtrain.collect.numbers import (
    difference_percent,
    format_signed,
    format_spread,
    median,
    spread_percent,
)
from hvdtrain.collect.paper import (
    PaperColumn,
    PaperRow,
    PaperTable,
    Quantity,
    TableNumber,
    load_paper_table,
)
from hvdtrain.collect.runs import Run
from hvdtrain.collect.sheet import Column, Sheet, Value
from hvdtrain.plan.record import Kind

TARGET_EPOCHS: dict[Quantity, int] = {
    "minutes_to_75_5_percent": 48,
    "minutes_to_76_percent": 64,
    "minutes_to_76_5_percent": 78,
}
"""Epochs that an accuracy needs with the collapsed ensemble. Source: Sections IV-D and VI."""

_TIMES: frozenset[Quantity] = frozenset({"minutes_to_train", *TARGET_EPOCHS})
_RESULTS: frozenset[Quantity] = _TIMES | {
    "iterations",
    "loss",
    "top1_percent",
    "top5_percent",
    "images_per_second",
    "epoch_seconds",
}
# Epochs and the like are whole; these are rounded for people, where the column does not say how.
_ROUNDED: frozenset[Quantity] = _TIMES | {"images_per_second", "epoch_seconds"}


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a line, beside the paper's.

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
    """Where the values of a line come from.

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


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a table: a row of the paper, and the runs that repeat it on one system.

    Attributes:
        row: Of the paper's table, counted from 1.
        cells: One for each quantity of the table, in its order.
        provenance: None: no run repeats the row.
    """

    row: int
    cells: tuple[Compared, ...]
    provenance: Provenance | None


def make_paper_sheet(number: TableNumber, runs: Iterable[Run]) -> Sheet[Line]:
    """One of the paper's tables of jobs, with the completed runs in it."""
    table = load_paper_table(number)
    lines = make_lines(table, runs)
    return Sheet(
        title=f"Table {number}. {table.title}",
        name=number,
        columns=_columns(table, lines),
        fields=_fields(table),
        values=lambda line: _values(table, line),
        rows=tuple(lines),
        notes=_notes(table),
    )


def make_lines(table: PaperTable, runs: Iterable[Run]) -> list[Line]:
    """The lines of a table, in the order of its rows."""
    by_batch: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.status == "completed":
            by_batch[run.global_batch].append(run)
    lines = []
    for row in table.row:
        batch = row.global_batch or table.node_batch_of(row) * table.nodes_of(row)
        groups: dict[tuple[str, Kind, int, int], list[Run]] = defaultdict(list)
        for run in by_batch[batch]:
            if belongs(run, table, row):
                groups[run.system, run.kind, run.nodes, run.node_batch].append(run)
        lines += [_line(table, row, groups[key]) for key in sorted(groups)]
        if not groups:
            lines.append(_line(table, row, []))
    return lines


def provenance_of(runs: Sequence[Run]) -> Provenance:
    """Where the values of some runs of one system and kind come from."""
    return Provenance(
        run_ids=tuple(sorted(run.run_id for run in runs)),
        date=max(run.date for run in runs),
        system=runs[0].system,
        kind=runs[0].kind,
    )


def _line(table: PaperTable, row: PaperRow, runs: Sequence[Run]) -> Line:
    return Line(
        row=row.row,
        cells=tuple(_compare(table, row, quantity, runs) for quantity in table.quantities),
        provenance=provenance_of(runs) if runs else None,
    )


def _compare(table: PaperTable, row: PaperRow, quantity: Quantity, runs: Sequence[Run]) -> Compared:
    paper = row.value(quantity)
    if not runs:
        return Compared(value=None if quantity in _RESULTS else paper, paper=paper)
    values = [_value(table, run, quantity) for run in runs]
    if quantity not in _RESULTS:
        return Compared(value=values[0], paper=paper)
    numbers = [value for value in values if isinstance(value, int | float)]
    if quantity in _TIMES and paper is not None and not repeats_job(runs[0], table, row):
        paper = None
    middle = median(numbers)
    return Compared(
        value=middle,
        paper=paper,
        difference_percent=difference_percent(middle, paper)
        if isinstance(paper, int | float)
        else None,
        spread_percent=spread_percent(numbers),
    )


def _value(table: PaperTable, run: Run, quantity: Quantity) -> Value:
    if quantity == "sockets":
        return run.nodes * (table.sockets_per_node or 1)
    return _OF_RUN[quantity](run)


def _projected(epochs: int) -> Callable[[Run], Value]:
    return lambda run: epochs * run.epoch_seconds / 60 if run.epoch_seconds else None


def _top1(run: Run) -> Value:
    return 100 * run.final.top1 if run.final and run.kind == "measured" else None


def _top5(run: Run) -> Value:
    return 100 * run.final.top5 if run.final and run.kind == "measured" else None


_OF_RUN: dict[Quantity, Callable[[Run], Value]] = {
    "global_batch": lambda run: run.global_batch,
    "node_batch": lambda run: run.node_batch,
    "nodes": lambda run: run.nodes,
    "weight_decay": lambda run: run.weight_decay.main,
    "collapse_weight_decay": lambda run: run.weight_decay.collapse,
    "collapse": lambda run: "yes" if run.weight_decay.collapsed else "no",
    "iterations": lambda run: run.steps,
    "epochs": lambda run: run.epochs,
    "top1_percent": _top1,
    "top5_percent": _top5,
    "minutes_to_train": lambda run: run.seconds / 60,
    "images_per_second": lambda run: run.images_per_second,
    "epoch_seconds": lambda run: run.epoch_seconds,
    **{quantity: _projected(epochs) for quantity, epochs in TARGET_EPOCHS.items()},
}


def _fields(table: PaperTable) -> tuple[str, ...]:
    names = ["table", "row"]
    for quantity in table.quantities:
        names += [quantity]
        if quantity in _RESULTS:
            names += [
                f"{quantity}_{what}" for what in ("paper", "difference_percent", "spread_percent")
            ]
    return (*names, "runs", "run_ids", "date", "system", "kind", "paper_flag")


def _values(table: PaperTable, line: Line) -> tuple[Value, ...]:
    values: list[Value] = [table.table, line.row]
    for quantity, cell in zip(table.quantities, line.cells, strict=True):
        values.append(cell.value)
        if quantity in _RESULTS:
            values += [cell.paper, cell.difference_percent, cell.spread_percent]
    flags = "; ".join(flag.reason for flag in table.row[line.row - 1].flag) or None
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
        if _RESULTS.intersection(column.quantity):
            spreads = any(c.spread_percent is not None for line in lines for c in line.cells[cells])
            columns += _result_columns(table, column, cells, spreads)
    return (*columns, *PROVENANCE_COLUMNS)


def _result_columns(
    table: PaperTable, column: PaperColumn, cells: slice, spreads: bool
) -> list[Column[Line]]:
    """What stands beside a column of results: the paper's cell, the difference, the spread."""

    def paper(line: Line) -> str:
        row = table.row[line.row - 1]
        if [row.value(q) for q in column.quantity] != [c.paper for c in line.cells[cells]]:
            return ""  # printed, and of another job
        flagged = any(row.reason(quantity) for quantity in column.quantity)
        return table.printed(row, column) + ("*" if flagged else "")

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


def _own_cell(column: PaperColumn, cells: slice) -> Callable[[Line], str]:
    decimals = 1 if _ROUNDED.intersection(column.quantity) else None

    def cell(line: Line) -> str:
        values = [_tidy(compared.value) for compared in line.cells[cells]]
        if line.provenance is None and _RESULTS.intersection(column.quantity):
            return ""
        return column.format_values(*values, decimals=decimals) if any(values) else ""

    return cell


def _tidy(value: Value) -> float | str | None:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _runs_cell(line: Line) -> str:
    if line.provenance is None:
        return ""
    first, *more = line.provenance.run_ids
    return f"{first} and {len(more)} more" if more else first


PROVENANCE_COLUMNS: tuple[Column[Line], ...] = (
    Column("run", _runs_cell),
    Column("date", lambda line: line.provenance.date if line.provenance else ""),
    Column("system", lambda line: line.provenance.system if line.provenance else ""),
    Column("kind", lambda line: line.provenance.kind if line.provenance else ""),
)


def _notes(table: PaperTable) -> tuple[str, ...]:
    return tuple(
        f"* row {cell.row}, {cell.heading}: {cell.flag}" for cell in table.cells() if cell.flag
    )
