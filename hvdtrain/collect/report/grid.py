"""Tables of the report: cells with what is shown, and with what is sorted by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hvdtrain.collect.tables.rounding import format_amount, format_percent, format_signed
from hvdtrain.collect.tables.runs_table import Row
from hvdtrain.collect.tables.table import Sheet


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
    """A table; `name` is its id in the page, `numbered` whether cells lead to its notes."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    numbered: bool = False


def number_cell(value: float | None, text: str) -> Cell:
    """A cell with a number: rounded to look at, exact to sort by."""
    return Cell(text="") if value is None else Cell(text=text, value=json.dumps(value))


def _as_printed(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


_Shown = tuple[str, str, Callable[[Row], str] | None]
# Field, heading, and what is shown of a number; None: a text, shown as it is.
_COLUMNS: tuple[_Shown, ...] = (
    ("run_id", "run", None),
    ("label", "label", None),
    ("system", "system", None),
    ("nodes", "nodes", lambda row: str(row.nodes)),
    ("node_batch", "local batch", lambda row: str(row.node_batch)),
    ("epoch_seconds", "s/epoch", lambda row: format_amount(row.epoch_seconds)),
    ("images_per_second", "images/s", lambda row: format_amount(row.images_per_second)),
    ("speedup", "speedup", lambda row: format_amount(row.speedup)),
    ("efficiency", "efficiency, %", lambda row: format_percent(row.efficiency)),
    ("paper_epoch_seconds", "paper s/epoch", lambda row: _as_printed(row.paper_epoch_seconds)),
    ("difference_percent", "difference, %", lambda r: format_signed(r.difference_percent)),
    ("paper_images_per_second", "paper im/s", lambda r: _as_printed(r.paper_images_per_second)),
    ("paper_table", "paper's table", None),
    ("paper_row", "its row", lambda row: _as_printed(row.paper_row)),
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
        numbered=True,
    )


def make_paper_grid(sheet: Sheet[Any], links: dict[str, str]) -> Grid:
    """A table of the paper with the runs in its rows.

    What stands beside a result, such as the difference, is left out where no run has any.
    """
    texts = [[column.cell(row) for row in sheet.rows] for column in sheet.columns]
    follows = [*(column.heading for column in sheet.columns[1:]), ""]
    kept = [
        (column, cells)
        for column, cells, after in zip(sheet.columns, texts, follows, strict=True)
        if any(cells) or after == "paper"
    ]
    lines = zip(*(cells for _, cells in kept), strict=True)
    return Grid(
        name=f"table-{sheet.name}",
        caption=sheet.title,
        columns=tuple(Column(heading=column.heading, number=column.number) for column, _ in kept),
        rows=tuple(
            tuple(_sheet_cell(column.heading, text, links) for (column, _), text in pairs)
            for pairs in (zip(kept, line, strict=True) for line in lines)
        ),
        notes=sheet.notes,
    )


def _sheet_cell(heading: str, text: str, links: dict[str, str]) -> Cell:
    return Cell(text=text, link=links.get(text, "") if heading == "run" else "")


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
