"""Two sets of runs side by side: the change of each job, and whether it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.groups_table import (
    JOB,
    Group,
    Key,
    Measure,
    key_text,
    make_groups,
    measure,
)
from hvdtrain.collect.tables.rounding import (
    difference_percent,
    format_amount,
    format_signed,
    format_spread,
)
from hvdtrain.collect.tables.table import Column, Sheet, Value

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


def make_compare_sheet(first: Iterable[Run], second: Iterable[Run]) -> Sheet[Change]:
    """The table of the changes."""
    return Sheet(
        columns=_COLUMNS,
        fields=(*JOB, *_FIELDS),
        values=_values,
        rows=tuple(make_changes(first, second)),
    )


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


_FIELDS = (
    "quantity",
    "first",
    "first_runs",
    "first_spread_percent",
    "second",
    "second_runs",
    "second_spread_percent",
    "change_percent",
    "noise_percent",
    "verdict",
)


def _values(change: Change) -> tuple[Value, ...]:
    measures: list[Value] = []
    for each in (change.first, change.second):
        measures += [each.median, each.runs, each.spread_percent]
    return (
        *change.key,
        change.quantity,
        *measures,
        change.change_percent,
        change.noise_percent,
        change.verdict,
    )


def _key_cell(position: int) -> Callable[[Change], str]:
    return lambda change: key_text(change.key[position])


_HEADINGS = ("system", "model", "nodes", "local batch", "recipe", "epochs", "kind")
_COLUMNS: tuple[Column[Change], ...] = (
    *(
        Column[Change](heading, _key_cell(i), number=JOB[i] in ("nodes", "node_batch", "epochs"))
        for i, heading in enumerate(_HEADINGS)
    ),
    Column("quantity", lambda change: change.quantity),
    Column("first", lambda change: format_amount(change.first.median), number=True),
    Column("runs", lambda change: str(change.first.runs), number=True),
    Column("second", lambda change: format_amount(change.second.median), number=True),
    Column("runs", lambda change: str(change.second.runs), number=True),
    Column("change %", lambda change: format_signed(change.change_percent), number=True),
    Column("noise %", lambda change: format_spread(change.noise_percent), number=True),
    Column("verdict", lambda change: change.verdict),
)
