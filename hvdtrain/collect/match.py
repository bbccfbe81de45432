"""Which row of Tables V and VI a run repeats."""

from __future__ import annotations

from functools import cache

from hvdtrain.collect.paper import PaperRow, PaperTable, TableNumber, load_paper_table
from hvdtrain.plan.modelspec import ModelSpec

_TABLES: tuple[TableNumber, ...] = ("V", "VI")
_MODEL = ModelSpec(name="resnet50", version="v1", image_size=224, classes=1000, precision="fp32")


@cache
def _rows_by_job() -> dict[tuple[str | None, int, int], tuple[PaperTable, PaperRow]]:
    tables = [load_paper_table(number) for number in _TABLES]
    return {
        (table.system, table.node_batch_of(row), table.nodes_of(row)): (table, row)
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
