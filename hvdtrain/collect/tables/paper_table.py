"""The paper's tables of jobs with the user's runs in them.

Each row of the paper is there, once for every system and kind of run that
reproduces it, or once without a value. Several runs of one job give their median and their spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hvdtrain.collect.paper.match import belongs, repeats_job
from hvdtrain.collect.paper.row import Quantity
from hvdtrain.collect.paper.tables import PaperTable, TableNumber, load_paper_table
from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.paper_columns import make_reproduced_table
from hvdtrain.collect.tables.paper_rows import (
    TARGET_EPOCHS,
    ReproducedRow,
    make_empty_row,
    make_reproduced_row,
    provenance_of,
)
from hvdtrain.collect.tables.table import Table, Value
from hvdtrain.collect.tables.table_10 import make_literature_table
from hvdtrain.collect.tables.table_11 import make_snapshot_table
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Kind


def make_jobs_table(number: TableNumber, runs: Iterable[Run]) -> Table[ReproducedRow]:
    """One of the paper's tables but X and XI, with the completed runs in it."""
    table = load_paper_table(number)
    return make_reproduced_table(table, make_reproduced_rows(table, runs))


def make_reproduced_rows(table: PaperTable, runs: Iterable[Run]) -> list[ReproducedRow]:
    """The rows of a table, in the order of the paper."""
    by_batch: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.status == "completed":
            by_batch[run.global_batch].append(run)
    rows = []
    for row in table.row:
        batch = row.global_batch or table.node_batch_of(row) * table.nodes_of(row)
        groups: dict[tuple[str, Kind, int, int], list[Run]] = defaultdict(list)
        for run in by_batch[batch]:
            if belongs(run, table, row):
                groups[run.system, run.kind, run.nodes, run.node_batch].append(run)
        if not groups:
            rows.append(make_empty_row(table, row))
        for _, group in sorted(groups.items()):
            values = [values_of(run, table) for run in group]
            same_job = repeats_job(group[0], table, row)
            rows.append(make_reproduced_row(table, row, values, provenance_of(group), same_job))
    return rows


def values_of(run: Run, table: PaperTable) -> tuple[Value, ...]:
    """What a run says of each quantity of a table."""
    return tuple(_value(run, table, quantity) for quantity in table.quantities)


def _value(run: Run, table: PaperTable, quantity: Quantity) -> Value:
    if quantity == "sockets":
        assert table.sockets_per_node is not None
        return run.nodes * table.sockets_per_node
    return _OF_RUN[quantity](run)


def _projected(epochs: int) -> Callable[[Run], Value]:
    return lambda run: epochs * run.epoch_seconds / 60 if run.epoch_seconds else None


_OF_RUN: dict[Quantity, Callable[[Run], Value]] = {
    "global_batch": lambda run: run.global_batch,
    "node_batch": lambda run: run.node_batch,
    "nodes": lambda run: run.nodes,
    "weight_decay": lambda run: run.weight_decay.main,
    "collapse_weight_decay": lambda run: run.weight_decay.collapse,
    "collapse": lambda run: "yes" if run.weight_decay.collapsed else "no",
    "iterations": lambda run: run.steps,
    "epochs": lambda run: run.epochs,
    "top1_percent": lambda run: run.top1_percent,
    "top5_percent": lambda run: run.top5_percent,
    "minutes_to_train": lambda run: run.seconds / 60,
    "images_per_second": lambda run: run.images_per_second,
    "epoch_seconds": lambda run: run.epoch_seconds,
    **{quantity: _projected(epochs) for quantity, epochs in TARGET_EPOCHS.items()},
}


def make_paper_table(
    number: TableNumber, runs: Sequence[Run], ensembles: Sequence[tuple[str, Ensemble]]
) -> Table[Any]:
    """A table of jobs, of the literature (X), or of snapshots and ensembles (XI)."""
    match number:
        case "X":
            return make_literature_table(runs)
        case "XI":
            return make_snapshot_table(runs, ensembles)
        case _:
            return make_jobs_table(number, runs)
