"""A few of many, named in a sentence."""

from __future__ import annotations

import pytest

from hvdtrain.names import name_ranks, name_some


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ((3,), "rank 3"),
        ((0, 5), "ranks 0, 5"),
        (range(8), "ranks 0, 1, 2, 3, 4, 5, 6, 7"),
        (range(1536), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 1528 more"),
    ],
)
def test_ranks(ranks: tuple[int, ...], text: str) -> None:
    assert name_ranks(ranks) == text


def test_others_with_a_limit_and_a_noun() -> None:
    assert name_some(["a", "b", "c"], 1) == "a and 2 more"
    assert name_some(["a", "b", "c"], 3) == "a, b, c"
    assert name_some(["a", "b", "c"], 2, "nodes") == "a, b and 1 more nodes"
    assert name_some([]) == ""
