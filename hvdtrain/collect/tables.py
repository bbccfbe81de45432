"""The rows of the collected table: what each run measured, beside what the paper measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from hvdtrain.collect.match import find_paper_row
from hvdtrain.collect.paper import TableNumber
from hvdtrain.collect.store import Incomplete
from hvdtrain.plan.datasource import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.plan.record import Kind, Record, Status
from hvdtrain.plan.runplan import RunPlan

Unfinished = Literal["incomplete"]

# A few broken files are skipped, and some count 1.28 million.
_IMAGENET_TOLERANCE = 0.005


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
        nodes: Nodes.
        epoch_seconds: Seconds per pass over the training images of ImageNet.
        epoch_seconds_from: `epochs`: the clock; `throughput`: 1,281,167 / images_per_second.
        images_per_second: Of all ranks together.
        efficiency: Throughput per node as a fraction of the base's. Only of completed runs.
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
    efficiency_base: str | None = None
    paper_table: TableNumber | None = None
    paper_row: int | None = None
    paper_epoch_seconds: float | None = None
    paper_images_per_second: float | None = None
    difference_percent: float | None = None
    paper_flag: str | None = None


def make_rows(runs: Iterable[Record | Incomplete]) -> list[Row]:
    """The rows of all runs, in the order of the paper: system, nodes, node batch."""
    rows = [_incomplete_row(run) if isinstance(run, Incomplete) else _row(run) for run in runs]
    rows.sort(key=lambda row: (row.system, row.nodes, row.node_batch, row.run_id))
    return _with_efficiency(rows)


def epoch_seconds(record: Record) -> tuple[float, Literal["epochs", "throughput"]] | None:
    """Seconds per epoch of ImageNet and where they come from; None: nothing tells.

    On a training set of ImageNet's size it is the mean over the epochs that ran in full, as the
    paper averages "over a full training run" (Figure 1). The first epoch of a process also
    traces the graph, connects the ranks and reads cold files; over 90 epochs that vanishes, over
    three it does not, so the first is left out when another full one remains. A lone full epoch
    counts as it was: slower than it could be, never faster. Otherwise, for a truncated run or
    another data set, it is derived from the throughput, which leaves out the first two steps.
    """
    plan = record.plan
    size = plan.dataset.train_images / IMAGENET_TRAIN_IMAGES
    if abs(size - 1) <= _IMAGENET_TOLERANCE:
        full = [epoch for epoch in record.epochs if epoch.steps == plan.steps_per_epoch]
        if len(full) > 1 and full[0] is record.epochs[0]:
            full = full[1:]
        mean = sum(epoch.seconds for epoch in full) / len(full) if full else 0.0
        if 0 < mean < math.inf:
            return mean, "epochs"
    if record.images_per_second:
        derived = IMAGENET_TRAIN_IMAGES / record.images_per_second
        if derived < math.inf:
            return derived, "throughput"
    return None


def describe_model(model: ModelSpec) -> str:
    """`resnet50-v1/224/1000/fp32`: network, image size, classes, precision."""
    network = f"{model.name}-{model.version}" if model.name == "resnet50" else model.name
    return f"{network}/{model.image_size}/{model.classes}/{model.precision}"


def _incomplete_row(run: Incomplete) -> Row:
    kind: Kind = "synthetic" if run.plan.source.kind == "synthetic" else "measured"
    return _plan_row(run.run_id, kind, "incomplete", run.plan)


def _plan_row(run_id: str, kind: Kind, status: Status | Unfinished, plan: RunPlan) -> Row:
    return Row(
        run_id=run_id,
        label=_label(kind, status),
        kind=kind,
        status=status,
        system=plan.system,
        model=describe_model(plan.model),
        node_batch=plan.node_batch,
        nodes=plan.nodes,
    )


def _label(kind: Kind, status: Status | Unfinished) -> str:
    """The word `measured` is for completed runs alone."""
    if status == "completed":
        return kind
    return status if kind == "measured" else f"{kind}, {status}"


def _row(record: Record) -> Row:
    row = _plan_row(record.run_id, record.kind, record.status, record.plan)
    seconds, origin = epoch_seconds(record) or (None, None)
    row = msgspec.structs.replace(
        row,
        epoch_seconds=seconds,
        epoch_seconds_from=origin,
        images_per_second=record.images_per_second,
    )
    return _beside_paper(row, record.plan.model) if row.label == "measured" else row


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
        difference_percent=_difference_percent(row.epoch_seconds, printed.epoch_seconds),
        paper_flag="; ".join(flag.reason for flag in printed.flag) or None,
    )


def _difference_percent(value: float | None, reference: float | None) -> float | None:
    if value is None or reference is None:
        return None
    difference = 100 * (value / reference - 1)
    return difference if math.isfinite(difference) else None


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
    per_node = row.images_per_second / row.nodes
    base_per_node = base.images_per_second / base.nodes
    efficiency = per_node / base_per_node if base_per_node else math.inf
    if not math.isfinite(efficiency):
        return row
    return msgspec.structs.replace(row, efficiency=efficiency, efficiency_base=base.run_id)
