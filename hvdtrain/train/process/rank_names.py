"""Ranks and their hosts, named for people."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 8


def name_ranks(ranks: Sequence[int]) -> str:
    """`rank 3`, or `ranks 0, 1, 2 and 5 more`."""
    named = ", ".join(map(str, ranks[:_NAMED]))
    more = f" and {len(ranks) - _NAMED} more" if len(ranks) > _NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {named}{more}"
