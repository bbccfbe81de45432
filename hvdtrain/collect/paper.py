"""The paper's own numbers: Tables V and VI as printed, and which of their rows a run repeats."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.plan.decode import load_toml
from hvdtrain.plan.modelspec import ModelSpec

Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(gt=0)]
TableNumber = Literal["V", "VI"]
ColumnName = Literal["node_batch", "nodes", "sockets", "images_per_second", "epoch_seconds"]

_FOLDER = Path(__file__).resolve().parent / "paper"
_FILES: dict[TableNumber, str] = {"V": "table-05.toml", "VI": "table-06.toml"}
_MODEL = ModelSpec(name="resnet50", version="v1", image_size=224, classes=1000, precision="fp32")


class Flag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A printed value that the paper's own arithmetic or text disagrees with.

    Attributes:
        column: Of the value.
        reason: What disagrees.
    """

    column: ColumnName
    reason: str


class PaperColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A column: its name here, its heading in the paper, its unit."""

    name: ColumnName
    heading: str
    unit: Literal["images", "nodes", "sockets", "images/s", "s"]


class PaperRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row as printed.

    Attributes:
        row: Counted from 1.
        node_batch: Images of a node in one step: the paper's local batch.
        nodes: None where the paper prints sockets.
        sockets: The paper's "# CPUs"; None where it prints nodes.
        images_per_second: Of all nodes together; None where it is not printed.
        epoch_seconds: Seconds per epoch.
        flag: Values that something in the paper disagrees with.
    """

    row: Positive
    node_batch: Positive
    nodes: Positive | None = None
    sockets: Positive | None = None
    images_per_second: Amount | None = None
    epoch_seconds: Amount
    flag: tuple[Flag, ...] = ()


class PaperTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of seconds per epoch.

    Attributes:
        table: Its number in the paper.
        title: Its title.
        section: Where the text speaks of it.
        system: The system file that describes the machine.
        sockets_per_node: Makes nodes of printed sockets; None where nodes are printed.
        column: In the order of the paper.
        row: In the order of the paper.
    """

    table: TableNumber
    title: str
    section: str
    system: str
    sockets_per_node: Positive | None = None
    column: tuple[PaperColumn, ...]
    row: tuple[PaperRow, ...]

    def __post_init__(self) -> None:
        printed = {column.name for column in self.column}
        if ("sockets" in printed) != (self.sockets_per_node is not None):
            raise ValueError("sockets_per_node belongs to a table that prints sockets")
        for number, row in enumerate(self.row, start=1):
            values = msgspec.structs.asdict(row)
            filled = {name for name, value in values.items() if value is not None}
            if row.row != number or filled - {"row", "flag"} != printed:
                raise ValueError(f"row {number} is out of order or does not fill the columns")

    def nodes_of(self, row: PaperRow) -> int:
        """Nodes of a row: as printed, or the printed sockets divided by those of a node."""
        if row.nodes is not None:
            return row.nodes
        assert row.sockets is not None and self.sockets_per_node is not None
        return row.sockets // self.sockets_per_node


@cache
def load_paper_table(number: TableNumber) -> PaperTable:
    """Table V (Stampede2) or VI (MareNostrum 4)."""
    return load_toml(_FOLDER / _FILES[number], PaperTable)


@cache
def _rows_by_job() -> dict[tuple[str, int, int], tuple[PaperTable, PaperRow]]:
    tables = [load_paper_table(number) for number in _FILES]
    return {
        (table.system, row.node_batch, table.nodes_of(row)): (table, row)
        for table in tables
        for row in table.row
    }


def find_paper_row(
    system: str, node_batch: int, nodes: int, model: ModelSpec
) -> tuple[PaperTable, PaperRow] | None:
    """The row of the paper with this system, node batch and number of nodes; None: there is none.

    Only the paper's network can be compared with it: ResNet-50 v1 on 224 x 224 pixels, 1000
    classes, single precision. Another one computes or sends another amount in each step.
    """
    if model != _MODEL:
        return None
    return _rows_by_job().get((system, node_batch, nodes))
