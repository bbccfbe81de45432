"""The table as text: Markdown and LaTeX for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from hvdtrain.collect.tables import Row
from hvdtrain.plan.text import printable

# What Markdown reads as markup. An underscore between letters or digits is not: run_1_a stays.
_MARKDOWN = re.compile(r"[\\`*|<>\[\]~&]|(?<![^\W_])_|_(?![^\W_])")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        **{character: "\\" + character for character in "&%$#_{}"},
    }
)

Format = Literal["md", "csv", "json", "latex"]


class _Column(msgspec.Struct, frozen=True):
    """A column of the tables for people; numbers are set to the right."""

    heading: str
    cell: Callable[[Row], str]
    number: bool = False


def format_rows(rows: Sequence[Row], form: Format) -> str:
    """The table in one of the formats, with a newline at its end.

    CSV and JSON carry every field of `Row` under its own name, unrounded. Markdown and LaTeX
    round, and keep to the columns that people read. Nothing that came from a record reaches the
    text as a control character or as markup.
    """
    match form:
        case "md":
            return _markdown(rows)
        case "latex":
            return _latex(rows)
        case "csv":
            return _csv(rows)
        case "json":
            return json.dumps([msgspec.structs.asdict(row) for row in rows], indent=2) + "\n"


def _amount(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if 0.1 <= value < 1e9 else f"{value:.3g}"


def _as_printed(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _percent(value: float | None) -> str:
    return "" if value is None else _amount(100 * value)


def _signed(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+.1f}" if abs(value) < 1e6 else f"{value:+.3g}"


_COLUMNS = (
    _Column("run", lambda row: row.run_id),
    _Column("label", lambda row: row.label),
    _Column("system", lambda row: row.system),
    _Column("model", lambda row: row.model),
    _Column("local batch", lambda row: str(row.node_batch), number=True),
    _Column("nodes", lambda row: str(row.nodes), number=True),
    _Column("s/epoch", lambda row: _amount(row.epoch_seconds), number=True),
    _Column("s/epoch from", lambda row: row.epoch_seconds_from or ""),
    _Column("images/s", lambda row: _amount(row.images_per_second), number=True),
    _Column("efficiency %", lambda row: _percent(row.efficiency), number=True),
    _Column("base", lambda row: row.efficiency_base or ""),
    _Column("paper", lambda row: f"Table {row.paper_table}" if row.paper_table else ""),
    _Column("paper s/epoch", lambda row: _as_printed(row.paper_epoch_seconds), number=True),
    _Column("difference %", lambda row: _signed(row.difference_percent), number=True),
    _Column("paper images/s", lambda row: _as_printed(row.paper_images_per_second), number=True),
)


def _cells(rows: Sequence[Row], escape: Callable[[str], str]) -> list[list[str]]:
    """The headings, then the rows, every text escaped."""
    lines = [[escape(column.heading) for column in _COLUMNS]]
    lines += [
        [
            column.cell(row) if column.number else escape(printable(column.cell(row)))
            for column in _COLUMNS
        ]
        for row in rows
    ]
    return lines


def _aligned(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells padded to the width of their column."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    pads = [
        (str.rjust if column.number else str.ljust, width)
        for column, width in zip(_COLUMNS, widths, strict=True)
    ]
    return [
        [pad(cell, width) for cell, (pad, width) in zip(line, pads, strict=True)] for line in lines
    ]


def _markdown(rows: Sequence[Row]) -> str:
    head, *body = _aligned(_cells(rows, lambda cell: _MARKDOWN.sub(r"\\\g<0>", cell)))
    rule = [
        "-" * (len(cell) - 1) + (":" if column.number else "-")
        for cell, column in zip(head, _COLUMNS, strict=True)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))


def _latex(rows: Sequence[Row]) -> str:
    head, *body = (
        f"{' & '.join(line)} \\\\"
        for line in _aligned(_cells(rows, lambda cell: cell.translate(_LATEX)))
    )
    alignment = "".join("r" if column.number else "l" for column in _COLUMNS)
    lines = [
        r"% Needs \usepackage{booktabs}.",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__struct_fields__)
    for row in rows:
        values = msgspec.structs.astuple(row)
        writer.writerow(printable(v) if isinstance(v, str) else v for v in values)
    return text.getvalue()
