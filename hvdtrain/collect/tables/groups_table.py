"""Runs put together by what they have in common: medians and spreads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, TypeVar, get_args

import msgspec

from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.rounding import format_amount, format_spread, median, spread_percent
from hvdtrain.collect.tables.table import Column, Shown, Table, Value

T = TypeVar("T")
Field = Literal[
    "system", "model", "nodes", "node_batch", "global_batch", "recipe", "epochs", "kind"
]
FIELDS: tuple[Field, ...] = get_args(Field)
JOB: tuple[Field, ...] = ("system", "model", "nodes", "node_batch", "recipe", "epochs", "kind")
"""What two runs share that did the same work: one is a duplicate of the other."""

Key = tuple[str | int | float, ...]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What some runs gave of one quantity.

    Attributes:
        runs: How many told it.
        median: None: none did.
        spread_percent: From the smallest to the largest, in percent of the median; None: fewer
            than two.
    """

    runs: int
    median: float | None
    spread_percent: float | None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Runs with the same values of some fields.

    Attributes:
        key: Those values, in the order of the fields.
        run_ids: The runs, in order of their names.
        epoch_seconds: Seconds per epoch of ImageNet.
        images_per_second: Training throughput of all ranks together.
        top1_percent: Top-1 accuracy after the last epoch, of measured runs.
    """

    key: Key
    run_ids: tuple[str, ...]
    epoch_seconds: Measure
    images_per_second: Measure
    top1_percent: Measure


def make_groups(runs: Iterable[Run], fields: Sequence[Field]) -> list[Group]:
    """The completed runs by the values of some fields, in their order."""
    members: dict[Key, list[Run]] = defaultdict(list)
    for run in runs:
        if run.status == "completed":
            members[tuple(field_of(run, field) for field in fields)].append(run)
    return [_group(key, members[key]) for key in sorted(members)]


def make_groups_table(runs: Iterable[Run], fields: Sequence[Field]) -> Table[Group]:
    """The table of the groups. Kinds of runs are never put together."""
    named: tuple[Field, ...] = tuple(dict.fromkeys([*fields, "kind"]))
    keys = (key_column(field, partial(_key_value, i)) for i, field in enumerate(named))
    return Table(columns=(*keys, *_COLUMNS), rows=tuple(make_groups(runs, named)))


def key_column(field: Field, value: Callable[[T], Value], shown: Shown = "narrow") -> Column[T]:
    """The column of a field that runs have in common."""
    heading = {"node_batch": "local batch", "global_batch": "global batch"}.get(field, field)
    number = field in ("nodes", "node_batch", "global_batch", "epochs")
    return Column(heading, value, field=field, number=number, shown=shown)


def _key_value(position: int, group: Group) -> Value:
    return group.key[position]


def measure(values: Sequence[float | None]) -> Measure:
    """The median and the spread of what some runs gave."""
    there = [value for value in values if value is not None]
    return Measure(runs=len(there), median=median(there), spread_percent=spread_percent(there))


def field_of(run: Run, field: Field) -> str | int | float:
    """The value of a field of a run; an unknown length in epochs is 0."""
    if field == "model":
        return run.model.label
    value: str | int | float | None = getattr(run, field)
    return value if value is not None else 0


def _group(key: Key, runs: Sequence[Run]) -> Group:
    return Group(
        key=key,
        run_ids=tuple(sorted(run.run_id for run in runs)),
        epoch_seconds=measure([run.epoch_seconds for run in runs]),
        images_per_second=measure([run.images_per_second for run in runs]),
        top1_percent=measure([run.top1_percent for run in runs]),
    )


def _columns_of(
    field: str, heading: str, unit: str, shown: Shown, measure_of: Callable[[Group], Measure]
) -> tuple[Column[Group], Column[Group]]:
    """The median of a measure, and its spread."""
    median_column = Column[Group](
        heading,
        lambda group: measure_of(group).median,
        format_amount,
        field=field,
        unit=unit,
        number=True,
        shown=shown,
    )
    spread_column = Column[Group](
        "spread",
        lambda group: measure_of(group).spread_percent,
        format_spread,
        field=f"{field}_spread_percent",
        unit="%",
        number=True,
    )
    return median_column, spread_column


_COLUMNS: tuple[Column[Group], ...] = (
    Column("runs", lambda group: len(group.run_ids), field="runs", number=True, shown="narrow"),
    Column("names", lambda group: ", ".join(group.run_ids), field="run_ids", shown="data"),
    *_columns_of("epoch_seconds", "s/epoch", "", "narrow", lambda each: each.epoch_seconds),
    *_columns_of("images_per_second", "images/s", "", "wide", lambda each: each.images_per_second),
    *_columns_of("top1_percent", "top-1", "%", "narrow", lambda each: each.top1_percent),
)
