"""The table of all runs: what each run measured, beside what the paper measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from hvdtrain.collect.paper.match import find_paper_row
from hvdtrain.collect.paper.tables import TableNumber
from hvdtrain.collect.runs import Run, Unfinished
from hvdtrain.collect.tables.rounding import (
    difference_percent,
    format_amount,
    format_percent,
    format_signed,
)
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.runs.record import Kind, Status

PAPER_TIME = "paper_epoch_seconds"
"""The field that `paper_flag` is about."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run. The fields are the keys of the JSON and the columns of the CSV.

    Attributes:
        run_id: The run's folder.
        label: `measured` only for a completed run on real images; otherwise what it is instead,
            such as `synthetic`, `failed` or `synthetic, incomplete`.
        kind: `measured`, `synthetic` or `forecast`; of an incomplete run what it would have been.
        status: How it ended; `incomplete`: it left no record.
        system: Name of the system.
        model: Network, image size and precision.
        node_batch: Images of a node in one step: the paper's local batch.
        nodes: How many nodes it ran on.
        epoch_seconds: Seconds per pass over the training images of ImageNet.
        epoch_seconds_from: `epochs`: the clock; `throughput`: 1,281,167 / images_per_second.
        images_per_second: Training throughput of all ranks together.
        efficiency: Throughput per node as a fraction of the base's. Only of completed runs.
        speedup: Throughput as a multiple of the base's. Only of completed runs.
        efficiency_base: run_id of the run with the fewest nodes among the completed ones of the
            same system, node_batch, model and kind.
        paper_table: The paper's table that has this system, node_batch, nodes and model. This
            and the fields below: only of completed, measured runs.
        paper_row: The row of that table, counted from 1.
        paper_epoch_seconds: As printed there.
        paper_images_per_second: As printed there; None in Table V, which prints none.
        difference_percent: Of epoch_seconds from the paper's. Above 0: slower than the paper.
        paper_flag: What in the paper disagrees with the printed values; None: nothing.
    """

    run_id: str
    label: str
    kind: Kind
    status: Status | Unfinished
    system: str
    model: str
    node_batch: int
    nodes: int
    epoch_seconds: float | None = None
    epoch_seconds_from: Literal["epochs", "throughput"] | None = None
    images_per_second: float | None = None
    efficiency: float | None = None
    speedup: float | None = None
    efficiency_base: str | None = None
    paper_table: TableNumber | None = None
    paper_row: int | None = None
    paper_epoch_seconds: float | None = None
    paper_images_per_second: float | None = None
    difference_percent: float | None = None
    paper_flag: str | None = None


def make_rows(runs: Iterable[Run]) -> list[Row]:
    """The rows of all runs, in the order of the paper: system, nodes, node batch."""
    rows = [_row(run) for run in runs]
    rows.sort(key=lambda row: (row.system, row.nodes, row.node_batch, row.run_id))
    return _with_efficiency(rows)


def make_runs_table(rows: Iterable[Row]) -> Table[Row]:
    """The table of all runs."""
    return Table(columns=_COLUMNS, rows=tuple(rows), fields=Row.__struct_fields__)


def _row(run: Run) -> Row:
    row = Row(
        run_id=run.run_id,
        label=run.label,
        kind=run.kind,
        status=run.status,
        system=run.system,
        model=run.model.label,
        node_batch=run.node_batch,
        nodes=run.nodes,
        epoch_seconds=run.epoch_seconds,
        epoch_seconds_from=run.epoch_seconds_from,
        images_per_second=run.images_per_second,
    )
    return _beside_paper(row, run.model) if row.label == "measured" else row


def _beside_paper(row: Row, model: ModelSpec) -> Row:
    found = find_paper_row(row.system, row.node_batch, row.nodes, model)
    if found is None:
        return row
    table, printed = found
    return msgspec.structs.replace(
        row,
        paper_table=table.table,
        paper_row=printed.row,
        paper_epoch_seconds=printed.epoch_seconds,
        paper_images_per_second=printed.images_per_second,
        difference_percent=difference_percent(row.epoch_seconds, printed.epoch_seconds),
        paper_flag=printed.flags,
    )


def _with_efficiency(rows: list[Row]) -> list[Row]:
    bases: dict[tuple[str | int, ...], Row] = {}
    for row in rows:
        if _can_be_compared(row):
            bases[_group(row)] = min(bases.get(_group(row), row), row, key=_base_order)
    return [_beside_base(row, bases[_group(row)]) if _can_be_compared(row) else row for row in rows]


def _can_be_compared(row: Row) -> bool:
    return row.status == "completed" and bool(row.images_per_second)


def _group(row: Row) -> tuple[str | int, ...]:
    return row.system, row.node_batch, row.model, row.kind


def _base_order(row: Row) -> tuple[int, float, str]:
    """Fewest nodes first; among equals the fastest, so that no efficiency is flattered."""
    return row.nodes, -(row.images_per_second or 0.0), row.run_id


def _beside_base(row: Row, base: Row) -> Row:
    assert row.images_per_second is not None and base.images_per_second is not None
    speedup = row.images_per_second / base.images_per_second if base.images_per_second else math.inf
    efficiency = speedup / (row.nodes / base.nodes)
    if not math.isfinite(speedup):
        return row
    return msgspec.structs.replace(
        row, efficiency=efficiency, speedup=speedup, efficiency_base=base.run_id
    )


def _show_table(number: TableNumber | None) -> str:
    return f"Table {number}" if number else ""


_COLUMNS: tuple[Column[Row], ...] = (
    Column("run", lambda row: row.run_id, field="run_id", shown="narrow"),
    Column("label", lambda row: row.label, field="label", shown="narrow"),
    Column("kind", lambda row: row.kind, field="kind", shown="data"),
    Column("status", lambda row: row.status, field="status", shown="data"),
    Column("system", lambda row: row.system, field="system"),
    Column("model", lambda row: row.model, field="model"),
    Column("local batch", lambda row: row.node_batch, field="node_batch", number=True),
    Column("nodes", lambda row: row.nodes, field="nodes", number=True, shown="narrow"),
    Column(
        "s/epoch",
        lambda row: row.epoch_seconds,
        format_amount,
        field="epoch_seconds",
        number=True,
        shown="narrow",
    ),
    Column("s/epoch from", lambda row: row.epoch_seconds_from, field="epoch_seconds_from"),
    Column(
        "images/s",
        lambda row: row.images_per_second,
        format_amount,
        field="images_per_second",
        number=True,
        shown="narrow",
    ),
    Column("speedup", lambda row: row.speedup, format_amount, field="speedup", number=True),
    Column(
        "efficiency",
        lambda row: row.efficiency,
        format_percent,
        field="efficiency",
        unit="%",
        number=True,
        shown="narrow",
    ),
    Column("base", lambda row: row.efficiency_base, field="efficiency_base"),
    Column("paper", lambda row: row.paper_table, _show_table, field="paper_table"),
    Column("paper row", lambda row: row.paper_row, field="paper_row", number=True, shown="report"),
    Column("paper s/epoch", lambda row: row.paper_epoch_seconds, field=PAPER_TIME, number=True),
    Column(
        "difference",
        lambda row: row.difference_percent,
        format_signed,
        field="difference_percent",
        unit="%",
        number=True,
        shown="narrow",
    ),
    Column(
        "paper images/s",
        lambda row: row.paper_images_per_second,
        field="paper_images_per_second",
        number=True,
    ),
    Column("paper flag", lambda row: row.paper_flag, field="paper_flag", shown="data"),
)
