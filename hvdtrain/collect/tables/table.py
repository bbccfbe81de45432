"""A table before it is text: rows of one type, and columns that say how a row is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Value = str | int | float | bool | None
Shown = Literal["narrow", "wide", "report", "data"]


def show_value(value: Value) -> str:
    """A value for people: a number without zeros at its end, and nothing for None."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column: what a row has there, for programs and for people.

    Attributes:
        heading: Over the column, without its unit.
        value: Of a row, unrounded.
        show: The text of a value for people, rounded.
        field: Key in JSON and heading in CSV; empty: the column is for people only.
        unit: Of the numbers that people see; empty: none, or the heading names it.
        number: Whether it is set to the right.
        shown: Where people see it. `narrow`: everywhere; `wide`: everywhere, on a terminal only
            when all columns are asked for; `report`: in the report alone; `data`: nowhere.
    """

    heading: str
    value: Callable[[T], Value]
    show: Callable[[Any], str] = show_value
    field: str = ""
    unit: str = ""
    number: bool = False
    shown: Shown = "wide"

    @property
    def title(self) -> str:
        """Heading and unit."""
        return f"{self.heading} {self.unit}" if self.unit else self.heading

    def cell(self, row: T) -> str:
        """What people see of a row."""
        return self.show(self.value(row))


@dataclass(frozen=True)
class Table(Generic[T]):
    """A table.

    Attributes:
        columns: In the order for people.
        rows: In their order.
        title: Over the table; empty: none.
        name: Its key where a file holds several; empty: it is alone.
        notes: Under the table, for people.
        fields: The order of the columns for programs; empty: that for people.
    """

    columns: tuple[Column[T], ...]
    rows: tuple[T, ...]
    title: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def narrow_columns(self) -> tuple[Column[T], ...]:
        """The columns that matter most: those of a terminal."""
        return tuple(column for column in self.columns if column.shown == "narrow")

    @property
    def wide_columns(self) -> tuple[Column[T], ...]:
        """The columns for people: those of Markdown, LaTeX and HTML."""
        return tuple(column for column in self.columns if column.shown in ("narrow", "wide"))

    @property
    def data_columns(self) -> tuple[Column[T], ...]:
        """The columns for programs: those of CSV and JSON."""
        named = {column.field: column for column in self.columns if column.field}
        return tuple(named[field] for field in self.fields or named)
