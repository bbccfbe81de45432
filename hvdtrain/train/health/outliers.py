"""Outliers by median and MAD: the one rule by which slow ranks and nodes are named.

A synchronous step takes as long as its slowest rank, so one node that is slow costs all of them.
The same work takes every rank nearly the same time. A member of the group is slow when it takes

- more than 10 % longer than the median of the others, and
- longer by more than 3 robust standard deviations of the others (1.4826 times the median of their
  absolute deviations from their median: the standard deviation, were they normally distributed).

The first keeps differences that do not matter from being named, the second keeps a group that
varies by itself from naming its upper half. Each is measured against the others alone, so that
the rule holds for two as it does for thousands, and one that is very slow does not hide behind the
spread that it makes itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from hvdtrain.runs.record import Straggler

LONGER = 0.10
DEVIATIONS = 3.0
_TO_STANDARD_DEVIATION = 1.4826


@dataclass(frozen=True)
class Slow:
    """A slow member.

    Attributes:
        index: Its place in the group.
        ratio: Its seconds divided by the median of the others.
    """

    index: int
    ratio: float


def find_slow(seconds: Sequence[float]) -> tuple[Slow, ...]:
    """The slow ones of a group that did the same work, slowest first.

    Args:
        seconds: Seconds of each member, above 0.
    """
    if len(seconds) < 2:
        return ()
    ordered = sorted(seconds)
    # Nobody in the lower half can be slow, and without one of the upper half the median of the
    # others is the same, whichever it is: so n log n is enough for thousands.
    lower = ordered[(len(ordered) - 1) // 2]
    middle = _median_without(ordered, len(ordered) - 1)
    # A clock that was set back in mid-run leaves seconds that are none.
    if middle <= 0:
        return ()
    deviations = sorted(abs(value - middle) for value in ordered)
    found = [
        Slow(index, value / middle)
        for index, value in enumerate(seconds)
        if value > lower and _is_slow(value, middle, deviations)
    ]
    return tuple(sorted(found, key=lambda slow: -slow.ratio))


def name_stragglers(
    compute_seconds: Sequence[float | None], hosts: Sequence[str]
) -> tuple[Straggler, ...]:
    """The slow ranks, slowest first.

    Args:
        compute_seconds: Mean seconds of an update of each rank before its allreduce; None: unknown.
        hosts: Host name of every rank, in order of rank.
    """
    known = [(rank, value) for rank, value in enumerate(compute_seconds) if value is not None]
    return tuple(
        Straggler(
            rank=known[slow.index][0],
            host=hosts[known[slow.index][0]],
            seconds=known[slow.index][1],
            ratio=slow.ratio,
        )
        for slow in find_slow([value for _, value in known])
    )


def _is_slow(value: float, middle: float, deviations: Sequence[float]) -> bool:
    """Whether a member is slow.

    Args:
        value: Its seconds.
        middle: Median of the others.
        deviations: From this median, of all members, its own included; ascending.
    """
    if value <= middle * (1 + LONGER):
        return False
    spread = _median_without(deviations, bisect_left(deviations, value - middle))
    return value - middle > DEVIATIONS * _TO_STANDARD_DEVIATION * spread


def _median_without(ordered: Sequence[float], left_out: int) -> float:
    """The median of two or more values in ascending order, one of which does not count."""
    low, high = (len(ordered) - 2) // 2, (len(ordered) - 1) // 2
    return (ordered[low + (low >= left_out)] + ordered[high + (high >= left_out)]) / 2
