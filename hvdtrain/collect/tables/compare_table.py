"""Two sets of runs side by side: the change of each job, and whether it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import msgspec

from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.groups_table import (
    JOB,
    Group,
    Key,
    Measure,
    key_column,
    make_groups,
    measure,
)
from hvdtrain.collect.tables.rounding import (
    difference_percent,
    format_amount,
    format_signed,
    format_spread,
)
from hvdtrain.collect.tables.table import Column, Table, Value

Quantity = Literal["epoch_seconds", "top1_percent"]
Verdict = Literal["higher", "lower", "not distinguishable", "noise unknown", "only one set"]

_OF_GROUP: dict[Quantity, Callable[[Group], Measure]] = {
    "epoch_seconds": lambda group: group.epoch_seconds,
    "top1_percent": lambda group: group.top1_percent,
}
_NOTHING = measure([])


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one job in two sets of runs.

    Attributes:
        key: The job: the values of `groups.JOB`.
        quantity: What is compared.
        first: In the first set.
        second: In the second.
        change_percent: Of the second median from the first; None: one set has none.
        noise_percent: The root of the sum of the squares of both spreads; None: a set has fewer
            than two runs, so nobody knows.
        verdict: `higher` or `lower` only when the change is larger than the noise.
    """

    key: Key
    quantity: Quantity
    first: Measure
    second: Measure
    change_percent: float | None
    noise_percent: float | None
    verdict: Verdict


def make_changes(first: Iterable[Run], second: Iterable[Run]) -> list[Change]:
    """What changed from the first set to the second, job by job."""
    before = {group.key: group for group in make_groups(first, JOB)}
    after = {group.key: group for group in make_groups(second, JOB)}
    return [
        _change(key, quantity, _measure(before, key, quantity), _measure(after, key, quantity))
        for key in sorted(before.keys() | after.keys())
        for quantity in _OF_GROUP
        if _measure(before, key, quantity).runs or _measure(after, key, quantity).runs
    ]


def make_compare_table(first: Iterable[Run], second: Iterable[Run]) -> Table[Change]:
    """The table of the changes."""
    return Table(columns=_COLUMNS, rows=tuple(make_changes(first, second)))


def _measure(groups: dict[Key, Group], key: Key, quantity: Quantity) -> Measure:
    return _OF_GROUP[quantity](groups[key]) if key in groups else _NOTHING


def _change(key: Key, quantity: Quantity, first: Measure, second: Measure) -> Change:
    change = difference_percent(second.median, first.median)
    noise = None
    if first.spread_percent is not None and second.spread_percent is not None:
        noise = math.hypot(first.spread_percent, second.spread_percent)
    return Change(
        key=key,
        quantity=quantity,
        first=first,
        second=second,
        change_percent=change,
        noise_percent=noise,
        verdict=_verdict(change, noise),
    )


def _verdict(change: float | None, noise: float | None) -> Verdict:
    if change is None:
        return "only one set"
    if noise is None:
        return "noise unknown"
    if abs(change) <= noise:
        return "not distinguishable"
    return "higher" if change > 0 else "lower"


def _key_value(position: int, change: Change) -> Value:
    return change.key[position]


def _measure_columns(
    heading: str, measure_of: Callable[[Change], Measure]
) -> tuple[Column[Change], ...]:
    """The median of one of the sets, of how many runs, and their spread."""
    return (
        Column(
            heading,
            lambda change: measure_of(change).median,
            format_amount,
            field=heading,
            number=True,
            shown="narrow",
        ),
        Column(
            "runs", lambda change: measure_of(change).runs, field=f"{heading}_runs", number=True
        ),
        Column(
            "spread",
            lambda change: measure_of(change).spread_percent,
            format_spread,
            field=f"{heading}_spread_percent",
            unit="%",
            number=True,
            shown="data",
        ),
    )


_COLUMNS: tuple[Column[Change], ...] = (
    *(
        key_column(
            field,
            partial(_key_value, position),
            "narrow" if field in ("system", "nodes", "node_batch", "recipe") else "wide",
        )
        for position, field in enumerate(JOB)
    ),
    Column("quantity", lambda change: change.quantity, field="quantity", shown="narrow"),
    *_measure_columns("first", lambda change: change.first),
    *_measure_columns("second", lambda change: change.second),
    Column(
        "change",
        lambda change: change.change_percent,
        format_signed,
        field="change_percent",
        unit="%",
        number=True,
        shown="narrow",
    ),
    Column(
        "noise",
        lambda change: change.noise_percent,
        format_spread,
        field="noise_percent",
        unit="%",
        number=True,
    ),
    Column("verdict", lambda change: change.verdict, field="verdict", shown="narrow"),
)
