"""A table before it is text: rows of one type, with columns for people and fields for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column for people; numbers are set to the right."""

    heading: str
    cell: Callable[[T], str]
    number: bool = False


@dataclass(frozen=True)
class Sheet(Generic[T]):
    """A table.

    Attributes:
        title: Over the table; empty: none.
        name: Its key where a file holds several; empty: it is alone.
        notes: Under the table, for people.
        columns: For Markdown, LaTeX and HTML; rounded.
        fields: For CSV and JSON; unrounded.
        values: The values of a row, one for each field.
        rows: In the order of the table.
    """

    columns: tuple[Column[T], ...]
    fields: tuple[str, ...]
    values: Callable[[T], tuple[Value, ...]]
    rows: tuple[T, ...]
    title: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
