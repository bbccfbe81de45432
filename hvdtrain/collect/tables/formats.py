"""Tables as text: Markdown, LaTeX and HTML for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from hvdtrain.collect.tables.table import Column, Table, Value
from hvdtrain.files.fields import printable

T = TypeVar("T")
Format = Literal["md", "csv", "json", "latex", "html"]

# What Markdown reads as markup. An underscore between letters or digits is not: run_1_a stays.
# Nor is a "<" that begins no tag: <= 2.4 h stays.
_MARKDOWN = re.compile(r"[\\`*|>\[\]~&]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "λ": r"$\lambda$",
        **{character: "\\" + character for character in "&%$#_{}"},
    }
)


def format_tables(tables: Sequence[Table[T]], form: Format) -> str:
    """Some tables in one of the formats, with a newline at the end.

    CSV and JSON carry every field under its own name, unrounded. Markdown, LaTeX and HTML round,
    and keep to the columns that people read. Nothing that came from a record reaches the text as
    a control character or as markup.

    In JSON a table that has no name is a list of its rows; tables with names are one object, with
    the title and the rows of each.
    """
    if form == "json":
        return _json(tables)
    one = {"md": _markdown, "latex": _latex, "csv": _csv, "html": _html}[form]
    return "\n".join(one(table) for table in tables)


def _cells(table: Table[T], escape: Callable[[str], str]) -> list[list[str]]:
    """The headings, then the rows, every text escaped: once, as most stand in many rows."""
    escaped = _Escaped(escape)
    columns = table.wide_columns
    lines = [[escape(column.title) for column in columns]]
    lines += [[escaped[column.cell(row)] for column in columns] for row in table.rows]
    return lines


class _Escaped(dict[str, str]):
    """Texts as they may be printed, made on first use."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__()
        self._escape = escape

    def __missing__(self, text: str) -> str:
        return self.setdefault(text, self._escape(printable(text)))


def _aligned(lines: Sequence[Sequence[str]], columns: Sequence[Column[T]]) -> list[list[str]]:
    """The cells padded to the width of their column."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    pads = [
        (str.rjust if column.number else str.ljust, width)
        for column, width in zip(columns, widths, strict=True)
    ]
    return [
        [pad(cell, width) for cell, (pad, width) in zip(line, pads, strict=True)] for line in lines
    ]


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _markdown(table: Table[T]) -> str:
    head, *body = _aligned(_cells(table, _escape_markdown), table.wide_columns)
    rule = [
        "-" * (len(cell) - 1) + (":" if column.number else "-")
        for cell, column in zip(head, table.wide_columns, strict=True)
    ]
    title = f"### {_escape_markdown(table.title)}\n\n" if table.title else ""
    notes = "".join(f"\n{_escape_markdown(note)}\n" for note in table.notes)
    return title + "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body)) + notes


def _escape_latex(text: str) -> str:
    return text.translate(_LATEX)


def _latex(table: Table[T]) -> str:
    head, *body = (
        f"{' & '.join(line)} \\\\"
        for line in _aligned(_cells(table, _escape_latex), table.wide_columns)
    )
    alignment = "".join("r" if column.number else "l" for column in table.wide_columns)
    lines = [
        r"% Needs \usepackage{booktabs}.",
        *([f"% {_escape_latex(table.title)}"] if table.title else []),
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par {_escape_latex(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _html(table: Table[T]) -> str:
    head, *body = _cells(table, html.escape)
    classes = [' class="number"' if column.number else "" for column in table.wide_columns]
    lines = ["<table>"]
    if table.title:
        lines.append(f"<caption>{html.escape(table.title)}</caption>")
    lines += ["<thead>", _html_row("th", ' scope="col"', head, classes), "</thead>", "<tbody>"]
    lines += [_html_row("td", "", cells, classes) for cells in body]
    lines += ["</tbody>"]
    if table.notes:
        notes = "<br>".join(map(html.escape, table.notes))
        lines.append(f'<tfoot><tr><td colspan="{len(head)}">{notes}</td></tr></tfoot>')
    lines += ["</table>"]
    return "\n".join(lines) + "\n"


def _html_row(tag: str, extra: str, cells: Sequence[str], classes: Sequence[str]) -> str:
    pairs = zip(cells, classes, strict=True)
    inner = "".join(f"<{tag}{extra}{kind}>{cell}</{tag}>" for cell, kind in pairs)
    return f"<tr>{inner}</tr>"


def _json(tables: Sequence[Table[T]]) -> str:
    def rows_of(table: Table[T]) -> list[dict[str, Value]]:
        columns = table.data_columns
        return [{column.field: column.value(row) for column in columns} for row in table.rows]

    unnamed = [table for table in tables if not table.name]
    whole = (
        rows_of(unnamed[0])
        if unnamed
        else {table.name: {"title": table.title, "rows": rows_of(table)} for table in tables}
    )
    return json.dumps(whole, indent=2) + "\n"


def _csv(table: Table[T]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = table.data_columns
    writer.writerow(column.field for column in columns)
    for row in table.rows:
        values = (column.value(row) for column in columns)
        writer.writerow(printable(v) if isinstance(v, str) else v for v in values)
    return text.getvalue()
