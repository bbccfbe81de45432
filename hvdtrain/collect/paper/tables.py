"""The paper's own numbers: Tables I to XIII as printed, with what in them cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import msgspec

from hvdtrain.collect.paper.column import PaperColumn
from hvdtrain.collect.paper.row import PaperRow, Quantity
from hvdtrain.files.decode import load_toml
from hvdtrain.files.numbers import PositiveInt

TableNumber = Literal[
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII"
]
TABLES: tuple[TableNumber, ...] = get_args(TableNumber)

_FOLDER = Path(__file__).resolve().parent


class PaperCell(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a table, with everything that says what it is.

    Attributes:
        table: Number of the table.
        row: Counted from 1.
        heading: Of the column, as printed.
        quantity: What the value is.
        unit: Of the value; `1`: a name, a yes or no, or a pure number.
        value: None: the cell is blank.
        printed: The whole cell as printed, with the other value of a column of two.
        flag: What disagrees with the value; None: nothing.
    """

    table: TableNumber
    row: int
    heading: str
    quantity: Quantity
    unit: str
    value: float | str | None
    printed: str
    flag: str | None


class PaperTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table.

    Attributes:
        table: Its number in the paper.
        title: Its title.
        section: Where the text speaks of it.
        system: The system file that describes the machine; None: the title names none.
        sockets_per_node: Makes nodes of printed sockets; None where nodes are printed.
        column: In the order of the paper.
        row: In the order of the paper.
    """

    table: TableNumber
    title: str
    section: str
    system: str | None = None
    sockets_per_node: PositiveInt | None = None
    column: tuple[PaperColumn, ...]
    row: tuple[PaperRow, ...]

    def __post_init__(self) -> None:
        columns = set(self.quantities)
        if ("sockets" in columns) != (self.sockets_per_node is not None):
            raise ValueError("sockets_per_node belongs to a table that prints sockets")
        for number, row in enumerate(self.row, start=1):
            filled = {quantity for quantity in get_args(Quantity) if row.value(quantity)}
            if row.row != number or filled - columns:
                raise ValueError(f"row {number} is out of order or has a value without a column")

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What the columns hold, in their order."""
        return tuple(quantity for column in self.column for quantity in column.quantity)

    def nodes_of(self, row: PaperRow) -> int:
        """Nodes of a row: as printed, or the printed sockets divided by those of a node."""
        if row.nodes is not None:
            return row.nodes
        assert row.sockets is not None and self.sockets_per_node is not None
        return row.sockets // self.sockets_per_node

    def node_batch_of(self, row: PaperRow) -> int:
        """The local batch of a row: as printed, or the global batch divided by the nodes."""
        if row.node_batch is not None:
            return row.node_batch
        assert row.global_batch is not None
        return row.global_batch // self.nodes_of(row)

    def printed(self, row: PaperRow, column: PaperColumn) -> str:
        """A cell as printed."""
        for cell in row.as_printed:
            if cell.heading == column.heading:
                return cell.text
        return column.format_values(*map(row.value, column.quantity))

    def cells(self) -> Iterator[PaperCell]:
        """Every value of the table, row by row."""
        for row in self.row:
            for column in self.column:
                for quantity, unit in zip(column.quantity, column.unit, strict=True):
                    yield PaperCell(
                        table=self.table,
                        row=row.row,
                        heading=column.heading,
                        quantity=quantity,
                        unit=unit,
                        value=row.value(quantity),
                        printed=self.printed(row, column),
                        flag=row.reason(quantity),
                    )


@cache
def load_paper_table(number: TableNumber) -> PaperTable:
    """A table of the paper by its Roman number."""
    position = TABLES.index(number) + 1
    return load_toml(_FOLDER / f"table-{position:02}.toml", PaperTable)
