"""Tables of the report: cells with what is shown, and with what is sorted by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hvdtrain.collect.tables.runs_table import PAPER_TIME, Row, make_runs_table
from hvdtrain.collect.tables.table import Column, Table


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a column; `field` is its key in `hvdtrain collect --format json`, empty: none."""

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
    columns: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    numbered: bool = False


def make_runs_grid(rows: Sequence[Row], links: dict[str, str]) -> Grid:
    """The table of all runs: the values of `hvdtrain collect --format json`.

    Args:
        rows: Of the table of all runs, in its order.
        links: From a run's id to that of its page.
    """
    columns = [column for column in make_runs_table(rows).columns if column.shown != "data"]
    notes: list[str] = []
    return Grid(
        name="runs",
        caption=(
            "All runs, in the order of the paper. Only completed runs on real images are called "
            "measured and compared with the paper; the efficiency is the throughput per node "
            "relative to the base."
        ),
        columns=tuple(
            Head(heading=column.title, number=column.number, field=column.field)
            for column in columns
        ),
        rows=tuple(
            tuple(_run_cell(row, column, links, notes) for column in columns) for row in rows
        ),
        notes=tuple(notes),
        numbered=True,
    )


def make_paper_grid(table: Table[Any], links: dict[str, str]) -> Grid:
    """A table of the paper with the runs in its rows.

    What stands beside a result, such as the difference, is left out where no run has any.
    """
    columns = table.wide_columns
    texts = [[column.cell(row) for row in table.rows] for column in columns]
    follows = [*(column.heading for column in columns[1:]), ""]
    kept = [
        (column, cells)
        for column, cells, after in zip(columns, texts, follows, strict=True)
        if any(cells) or after == "paper"
    ]
    lines = zip(*(cells for _, cells in kept), strict=True)
    return Grid(
        name=f"table-{table.name}",
        caption=table.title,
        columns=tuple(Head(heading=column.title, number=column.number) for column, _ in kept),
        rows=tuple(
            tuple(_paper_cell(column.heading, text, links) for (column, _), text in pairs)
            for pairs in (zip(kept, line, strict=True) for line in lines)
        ),
        notes=table.notes,
    )


def _paper_cell(heading: str, text: str, links: dict[str, str]) -> Cell:
    return Cell(text=text, link=links.get(text, "") if heading == "run" else "")


def _run_cell(row: Row, column: Column[Row], links: dict[str, str], notes: list[str]) -> Cell:
    value, text = column.value(row), column.cell(row)
    if value is None:
        return Cell(text=text)
    if not column.number:
        link = links.get(row.run_id, "") if column.field == "run_id" else ""
        return Cell(text=text, value=str(value) if value != text else "", link=link)
    is_flagged = column.field == PAPER_TIME and row.paper_flag is not None
    note = _note(row.paper_flag or "", notes) if is_flagged else 0
    return Cell(text=text, value=json.dumps(value), note=note)


def _note(text: str, notes: list[str]) -> int:
    """The number of a remark, counted from 1; the same for the same text."""
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1
