"""Many ranks, nodes or files named in one sentence: the first of them, and how many more."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMED = 8


def name_some(names: Sequence[object], most: int = _MOST_NAMED, what: str = "") -> str:
    """`a, b, c`, or `a, b, c and 5 more`.

    Args:
        names: In their order.
        most: How many are named.
        what: Plural noun behind `more`; empty: none.
    """
    more = len(names) - most
    named = ", ".join(map(str, names[:most]))
    return f"{named} and {more} more {what}".rstrip() if more > 0 else named


def name_ranks(ranks: Sequence[int]) -> str:
    """`rank 3`, or `ranks 0, 1, 2 and 5 more`."""
    return f"rank{'s' if len(ranks) > 1 else ''} {name_some(ranks)}"
