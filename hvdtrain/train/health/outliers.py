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

import statistics
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
    ordered = sorted(seconds)
    found = []
    for index, value in enumerate(seconds):
        # Nobody in the lower half can be slow; saves the copies.
        if value <= ordered[(len(ordered) - 1) // 2]:
            continue
        others = ordered.copy()
        others.remove(value)
        if _is_slow(value, others):
            found.append(Slow(index, value / statistics.median(others)))
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


def _is_slow(value: float, others: Sequence[float]) -> bool:
    middle = statistics.median(others)
    # A clock that was set back in mid-run leaves seconds that are none.
    if middle <= 0 or value <= middle * (1 + LONGER):
        return False
    spread = statistics.median(abs(other - middle) for other in others)
    return value - middle > DEVIATIONS * _TO_STANDARD_DEVIATION * spread
