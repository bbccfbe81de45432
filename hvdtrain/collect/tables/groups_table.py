"""Runs put together by what they have in common: medians and spreads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal, get_args

import msgspec

from hvdtrain.collect.runs import Run, describe_model
from hvdtrain.collect.tables.rounding import format_amount, format_spread, median, spread_percent
from hvdtrain.collect.tables.table import Column, Sheet, Value

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
        images_per_second: Of all ranks together.
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


def make_group_sheet(runs: Iterable[Run], fields: Sequence[Field]) -> Sheet[Group]:
    """The table of the groups. Kinds of runs are never put together."""
    named: tuple[Field, ...] = tuple(dict.fromkeys([*fields, "kind"]))
    return Sheet(
        columns=(*map(_key_column, range(len(named)), named), *_COLUMNS),
        fields=(*named, "runs", "run_ids", *_MEASURED_FIELDS),
        values=_values,
        rows=tuple(make_groups(runs, named)),
    )


def measure(values: Sequence[float | None]) -> Measure:
    """The median and the spread of what some runs gave."""
    there = [value for value in values if value is not None]
    return Measure(runs=len(there), median=median(there), spread_percent=spread_percent(there))


def field_of(run: Run, field: Field) -> str | int | float:
    """The value of a field of a run; an unknown length in epochs is 0."""
    if field == "model":
        return describe_model(run.model)
    value: str | int | float | None = getattr(run, field)
    return value if value is not None else 0


def key_text(value: str | int | float) -> str:
    """A value of a field, for people."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _group(key: Key, runs: Sequence[Run]) -> Group:
    return Group(
        key=key,
        run_ids=tuple(sorted(run.run_id for run in runs)),
        epoch_seconds=measure([run.epoch_seconds for run in runs]),
        images_per_second=measure([run.images_per_second for run in runs]),
        top1_percent=measure([run.top1_percent for run in runs]),
    )


_MEASURES: tuple[tuple[str, str, Callable[[Group], Measure]], ...] = (
    ("epoch_seconds", "s/epoch", lambda group: group.epoch_seconds),
    ("images_per_second", "images/s", lambda group: group.images_per_second),
    ("top1_percent", "top-1 %", lambda group: group.top1_percent),
)
_MEASURED_FIELDS = tuple(
    f"{name}{suffix}" for name, _, _ in _MEASURES for suffix in ("", "_spread_percent")
)


def _values(group: Group) -> tuple[Value, ...]:
    measured: list[Value] = []
    for _, _, measure_of in _MEASURES:
        measured += [measure_of(group).median, measure_of(group).spread_percent]
    return (*group.key, len(group.run_ids), ", ".join(group.run_ids), *measured)


def _key_column(position: int, field: Field) -> Column[Group]:
    number = field in ("nodes", "node_batch", "global_batch", "epochs")
    heading = {"node_batch": "local batch", "global_batch": "global batch"}.get(field, field)
    return Column(heading, lambda group: key_text(group.key[position]), number=number)


def _median_cell(measure_of: Callable[[Group], Measure], group: Group) -> str:
    return format_amount(measure_of(group).median)


def _spread_cell(measure_of: Callable[[Group], Measure], group: Group) -> str:
    return format_spread(measure_of(group).spread_percent)


_COLUMNS: tuple[Column[Group], ...] = (
    Column("runs", lambda group: str(len(group.run_ids)), number=True),
    *(
        column
        for _, heading, measure_of in _MEASURES
        for column in (
            Column[Group](heading, partial(_median_cell, measure_of), number=True),
            Column[Group]("spread %", partial(_spread_cell, measure_of), number=True),
        )
    ),
)
