"""Any table of the paper by its number, with the runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvdtrain.collect.literature import make_literature_sheet
from hvdtrain.collect.paper import TableNumber
from hvdtrain.collect.paper_tables import make_paper_sheet
from hvdtrain.collect.runs import Run
from hvdtrain.collect.sheet import Sheet
from hvdtrain.collect.snapshots import make_snapshot_sheet
from hvdtrain.plan.ensemble import Ensemble


def make_table_sheet(
    number: TableNumber, runs: Sequence[Run], ensembles: Sequence[tuple[str, Ensemble]]
) -> Sheet[Any]:
    """A table of jobs, of the literature (X), or of snapshots and ensembles (XI)."""
    match number:
        case "X":
            return make_literature_sheet(runs)
        case "XI":
            return make_snapshot_sheet(runs, ensembles)
        case _:
            return make_paper_sheet(number, runs)
