"""The paper's own numbers: Tables I to XIII as printed, with what in them cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from hvdtrain.files.decode import load_toml

Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
TableNumber = Literal[
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII"
]
Unit = Literal["images", "nodes", "sockets", "updates", "epochs", "images/s", "s", "min"]
Quantity = Literal[
    "work",
    "snapshot",
    "global_batch",
    "node_batch",
    "nodes",
    "sockets",
    "weight_decay",
    "collapse_weight_decay",
    "collapse",
    "iterations",
    "epochs",
    "loss",
    "top1_percent",
    "top5_percent",
    "top1_percent_8k",
    "top1_percent_16k",
    "top1_percent_32k",
    "top1_percent_48k",
    "top1_percent_64k",
    "minutes_to_train",
    "minutes_to_75_5_percent",
    "minutes_to_76_percent",
    "minutes_to_76_5_percent",
    "images_per_second",
    "epoch_seconds",
]
TABLES: tuple[TableNumber, ...] = get_args(TableNumber)

_FOLDER = Path(__file__).resolve().parent


class Flag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A printed value that the paper's own arithmetic or text disagrees with.

    Attributes:
        quantity: Of the value.
        reason: What disagrees.
    """

    quantity: Quantity
    reason: str


class Printed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cell that is printed in another way than the rest of its column.

    Attributes:
        heading: Of the column.
        text: As printed.
    """

    heading: str
    text: str


class PaperColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A column.

    Attributes:
        heading: In the paper.
        quantity: What a cell holds: one value, or two as in `14200 (90)`.
        unit: Of each quantity; `1`: a name, a yes or no, or a pure number.
        form: A cell, with `{}` for each quantity.
        decimals: Digits behind the point; None: as many as a number needs.
        blank: What is printed where there is no value.
    """

    heading: str
    quantity: Annotated[tuple[Quantity, ...], Meta(min_length=1, max_length=2)]
    unit: tuple[Unit | Literal["1", "%", "nats"], ...]
    form: str = "{}"
    decimals: Annotated[int, Meta(ge=0, le=9)] | None = None
    blank: str = ""

    def __post_init__(self) -> None:
        if not len(self.quantity) == len(self.unit) == self.form.count("{}"):
            raise ValueError(f"{self.heading}: quantity, unit and form do not fit together")

    def format_values(self, *values: float | str | None, decimals: int | None = None) -> str:
        """A cell with these values, one for each quantity; those that are None are left out.

        Args:
            values: In the order of `quantity`.
            decimals: Digits behind the point where the column has no number of its own.
        """
        digits = decimals if self.decimals is None else self.decimals
        texts = [_text(value, digits) for value in values if value is not None]
        if len(texts) == len(self.quantity):
            return self.form.format(*texts)
        return " ".join(texts) or self.blank


class PaperRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row as printed. None: the table has no such column, or the cell is blank.

    Attributes:
        row: Counted from 1.
        work: Whose result it is.
        snapshot: Number in Figure 4; with a `c` after a collapse.
        global_batch: Images of all nodes in one update.
        node_batch: Images of a node in one update: the paper's local batch.
        nodes: None where the paper prints sockets.
        sockets: The paper's "# CPUs"; None where it prints nodes.
        weight_decay: Coupled L2 factor lambda, until the collapse where there is one.
        collapse_weight_decay: During the collapse.
        collapse: Whether the run ends with one.
        iterations: Updates of the run.
        epochs: Of the run.
        loss: Cross-entropy on the validation images, in nats.
        top1_percent: Validation images whose first guess was right.
        top5_percent: With the right class among the first five guesses.
        top1_percent_8k: At a global batch of 8 x 1024.
        top1_percent_16k: Of 16 x 1024.
        top1_percent_32k: Of 32 x 1024.
        top1_percent_48k: Of 48 x 1024.
        top1_percent_64k: Of 64 x 1024.
        minutes_to_train: The paper's TTT.
        minutes_to_75_5_percent: Projected minutes to 75.5 % top-1.
        minutes_to_76_percent: To 76 %.
        minutes_to_76_5_percent: To 76.5 %.
        images_per_second: Of all nodes together.
        epoch_seconds: Seconds per epoch.
        recipe: What this project repeats the row with. Not printed.
        system: The machine of the row where the title of its table names none; from the text.
        as_printed: Cells that look other than the rest of their column.
        flag: Values that something in the paper disagrees with.
    """

    row: Positive
    work: str | None = None
    snapshot: str | None = None
    global_batch: Positive | None = None
    node_batch: Positive | None = None
    nodes: Positive | None = None
    sockets: Positive | None = None
    weight_decay: Amount | None = None
    collapse_weight_decay: Amount | None = None
    collapse: Literal["yes", "no"] | None = None
    iterations: Positive | None = None
    epochs: Positive | None = None
    loss: Amount | None = None
    top1_percent: Percent | None = None
    top5_percent: Percent | None = None
    top1_percent_8k: Percent | None = None
    top1_percent_16k: Percent | None = None
    top1_percent_32k: Percent | None = None
    top1_percent_48k: Percent | None = None
    top1_percent_64k: Percent | None = None
    minutes_to_train: Amount | None = None
    minutes_to_75_5_percent: Amount | None = None
    minutes_to_76_percent: Amount | None = None
    minutes_to_76_5_percent: Amount | None = None
    images_per_second: Amount | None = None
    epoch_seconds: Amount | None = None
    recipe: str | None = None
    system: str | None = None
    as_printed: tuple[Printed, ...] = ()
    flag: tuple[Flag, ...] = ()

    def value(self, quantity: Quantity) -> float | str | None:
        """The value of a quantity as printed; None where the row has none."""
        value: float | str | None = getattr(self, quantity)
        return value

    def reason(self, quantity: Quantity) -> str | None:
        """What disagrees with the value; None: nothing."""
        reasons = [flag.reason for flag in self.flag if flag.quantity == quantity]
        return "; ".join(reasons) or None


class PaperCell(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a table, with everything that says what it is.

    Attributes:
        table: Number of the table.
        row: Counted from 1.
        heading: Of the column.
        quantity: What the value is.
        unit: Of the value.
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
    sockets_per_node: Positive | None = None
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


def _text(value: float | str, decimals: int | None) -> str:
    if isinstance(value, str):
        return value
    if decimals is not None and not isinstance(value, int):
        return f"{value:.{decimals}f}"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")
