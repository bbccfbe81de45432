"""The paper's tables of jobs with the user's runs in them.

Each row of the paper is there, with a line for every system and kind of run that repeats it, or
one line without a value. Several runs of one job give their median and their spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hvdtrain.collect.paper.match import belongs, repeats_job
from hvdtrain.collect.paper.row import Quantity
from hvdtrain.collect.paper.tables import PaperTable, TableNumber, load_paper_table
from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.paper_columns import make_line_sheet
from hvdtrain.collect.tables.paper_rows import (
    TARGET_EPOCHS,
    Line,
    empty_line,
    make_line,
    provenance_of,
)
from hvdtrain.collect.tables.table import Sheet, Value
from hvdtrain.collect.tables.table_10 import make_literature_sheet
from hvdtrain.collect.tables.table_11 import make_snapshot_sheet
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Kind


def make_paper_sheet(number: TableNumber, runs: Iterable[Run]) -> Sheet[Line]:
    """One of the paper's tables but X and XI, with the completed runs in it."""
    table = load_paper_table(number)
    return make_line_sheet(table, make_lines(table, runs))


def make_lines(table: PaperTable, runs: Iterable[Run]) -> list[Line]:
    """The lines of a table, in the order of its rows."""
    by_batch: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        if run.status == "completed":
            by_batch[run.global_batch].append(run)
    lines = []
    for row in table.row:
        batch = row.global_batch or table.node_batch_of(row) * table.nodes_of(row)
        groups: dict[tuple[str, Kind, int, int], list[Run]] = defaultdict(list)
        for run in by_batch[batch]:
            if belongs(run, table, row):
                groups[run.system, run.kind, run.nodes, run.node_batch].append(run)
        if not groups:
            lines.append(empty_line(table, row))
        for _, group in sorted(groups.items()):
            values = [values_of(run, table) for run in group]
            same_job = repeats_job(group[0], table, row)
            lines.append(make_line(table, row, values, provenance_of(group), same_job))
    return lines


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
