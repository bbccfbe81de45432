"""Tables of the report: cells with what is shown, and with what is sorted by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hvdtrain.collect.paper import PaperColumn, PaperRow, PaperTable
from hvdtrain.collect.tables import Row


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; `field` is what `hvdtrain collect --format json` calls it, empty: nothing."""

    heading: str
    number: bool = False
    field: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell.

    Attributes:
        text: What is shown.
        value: What is sorted by, and the exact value, as JSON; empty: the text.
        link: Id in this page that it leads to; empty: none.
        note: Number of the remark below the table; 0: none.
    """

    text: str
    value: str = ""
    link: str = ""
    note: int = 0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table; `name` is its id in the page."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def number_cell(value: float | None, text: str) -> Cell:
    """A cell with a number: rounded to look at, exact to sort by."""
    return Cell(text="") if value is None else Cell(text=text, value=json.dumps(value))


def format_number(value: float | None) -> str:
    """A number for people: 4 digits, or all of a whole one."""
    if value is None:
        return ""
    if abs(value) >= 1e9 or (value and abs(value) < 1e-3):
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def format_fraction(fraction: float | None) -> str:
    """A fraction as percent, with one decimal."""
    return "" if fraction is None else f"{100 * fraction:.1f}"


def format_difference(value: float | None) -> str:
    """A difference, with its sign."""
    if value is None:
        return ""
    return f"{value:+.1f}" if abs(value) < 1e6 else f"{value:+.3g}"


_Shown = tuple[str, str, Callable[[Row], str] | None]
# Field, heading, and what is shown of a number; None: a text, shown as it is.
_COLUMNS: tuple[_Shown, ...] = (
    ("run_id", "run", None),
    ("label", "label", None),
    ("system", "system", None),
    ("nodes", "nodes", lambda row: str(row.nodes)),
    ("node_batch", "local batch", lambda row: str(row.node_batch)),
    ("epoch_seconds", "s/epoch", lambda row: format_number(row.epoch_seconds)),
    ("images_per_second", "images/s", lambda row: format_number(row.images_per_second)),
    ("efficiency", "efficiency, %", lambda row: format_fraction(row.efficiency)),
    ("paper_epoch_seconds", "paper s/epoch", lambda row: format_number(row.paper_epoch_seconds)),
    ("difference_percent", "difference, %", lambda r: format_difference(r.difference_percent)),
    ("paper_images_per_second", "paper im/s", lambda r: format_number(r.paper_images_per_second)),
    ("paper_table", "paper's table", None),
    ("paper_row", "its row", lambda row: format_number(row.paper_row)),
    ("epoch_seconds_from", "s/epoch from", None),
    ("efficiency_base", "efficiency base", None),
    ("model", "model", None),
)


def make_runs_grid(rows: Sequence[Row], links: dict[str, str]) -> Grid:
    """The table of all runs: the values of `hvdtrain collect --format json`.

    Args:
        rows: Of the collected table.
        links: From a run's id to that of its page.
    """
    notes: list[str] = []
    return Grid(
        name="runs",
        caption=(
            "All runs, in the order of the paper. Only completed runs on real images are called "
            "measured and compared with the paper; the efficiency is the throughput per node "
            "relative to the base."
        ),
        columns=tuple(
            Column(heading=heading, number=shown is not None, field=field)
            for field, heading, shown in _COLUMNS
        ),
        rows=tuple(
            tuple(_run_cell(row, column, links, notes) for column in _COLUMNS) for row in rows
        ),
        notes=tuple(notes),
    )


def make_paper_grid(table: PaperTable, rows: Sequence[Row], links: dict[str, str]) -> Grid:
    """A table as the paper prints it, flagged, with the epoch times of the runs that repeat it."""
    own = [row for row in rows if row.paper_table == table.table]
    notes: list[str] = []
    lines = []
    for printed in table.row:
        cells = [_paper_cell(table, printed, column, notes) for column in table.column]
        lines.append((*cells, *_own_cells(printed, own, links)) if own else tuple(cells))
    headings = [Column(heading=column.heading, number=True) for column in table.column]
    if own:
        headings += [Column(heading="your s/epoch", number=True), Column(heading="run")]
    return Grid(
        name=f"table-{table.table}",
        caption=f"Table {table.table}. {table.title}",
        columns=tuple(headings),
        rows=tuple(lines),
        notes=tuple(notes),
    )


def _paper_cell(
    table: PaperTable, printed: PaperRow, column: PaperColumn, notes: list[str]
) -> Cell:
    reasons = [reason for quantity in column.quantity if (reason := printed.reason(quantity))]
    note = _note("; ".join(reasons), notes) if reasons else 0
    return Cell(text=table.printed(printed, column), note=note)


def _own_cells(printed: PaperRow, own: Sequence[Row], links: dict[str, str]) -> tuple[Cell, Cell]:
    """The fastest run that repeats a row."""
    found = [row for row in own if row.paper_row == printed.row and row.epoch_seconds]
    if not found:
        return Cell(text=""), Cell(text="")
    best = min(found, key=lambda row: row.epoch_seconds or 0.0)
    text = f"{format_number(best.epoch_seconds)} ({format_difference(best.difference_percent)} %)"
    return (
        number_cell(best.epoch_seconds, text),
        Cell(text=best.run_id, link=links.get(best.run_id, "")),
    )


def _run_cell(row: Row, column: _Shown, links: dict[str, str], notes: list[str]) -> Cell:
    field, _, shown = column
    value = getattr(row, field)
    if shown is None:
        return Cell(text=value or "", link=links.get(row.run_id, "") if field == "run_id" else "")
    cell = number_cell(value, shown(row))
    if field == "paper_epoch_seconds" and row.paper_flag is not None:
        return dataclasses.replace(cell, note=_note(row.paper_flag, notes))
    return cell


def _note(text: str, notes: list[str]) -> int:
    """The number of a remark, counted from 1; the same for the same text."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1
