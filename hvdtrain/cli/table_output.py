"""Tables of commands: drawn to the width of a terminal, Markdown elsewhere."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from hvdtrain.cli.output import print_text
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.table import Table
from hvdtrain.files.fields import printable

if TYPE_CHECKING:
    from rich.table import Table as Drawing

T = TypeVar("T")
_F = TypeVar("_F", bound=Callable[..., None])

# Wider than any table: nothing is folded.
_ENDLESS = 100_000


def wide_option(function: _F) -> _F:
    """`--wide` of the commands that print a table."""
    return click.option(
        "--wide",
        is_flag=True,
        help="All columns on a terminal, however wide. Pipes and files have them always.",
    )(function)


def print_table(table: Table[T], wide: bool) -> None:
    """A table on stdout: drawn on a terminal, Markdown elsewhere.

    Args:
        table: What is printed.
        wide: On a terminal all columns, and nothing folded to its width.
    """
    print_text(draw_tables([table], wide) if is_terminal() else format_tables([table], "md"))


def is_terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def draw_tables(tables: Sequence[Table[T]], wide: bool) -> str:
    """Tables for the terminal, one below the other, with their titles and notes."""
    from rich.console import Console
    from rich.text import Text

    width = _ENDLESS if wide else shutil.get_terminal_size().columns
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width)
    for number, table in enumerate(tables):
        if number:
            console.print()
        if table.title:
            console.print(Text(printable(table.title), style="bold"))
        console.print(draw_table(table, wide))
        for note in table.notes:
            console.print(Text(printable(note)))
    return out.getvalue()


def draw_table(table: Table[T], wide: bool) -> Drawing:
    """A table for rich: nothing in a cell is markup.

    To fit the terminal, texts are folded and headings broken between words; numbers stay whole.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as Drawing
    from rich.text import Text

    drawing = Drawing(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    columns = table.wide_columns if wide else table.narrow_columns
    lines = [[printable(column.cell(row)) for column in columns] for row in table.rows]
    for position, column in enumerate(columns):
        texts = [*column.title.split(), *(line[position] for line in lines)]
        drawing.add_column(
            column.title if wide else f"{column.heading}\n{column.unit}".rstrip(),
            justify="right" if column.number else "left",
            overflow="fold",
            width=max(map(cell_len, texts), default=1) if column.number and not wide else None,
        )
    for line in lines:
        drawing.add_row(*map(Text, line))
    return drawing
