"""A slow node is named, a noisy group is not."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.runs.record import Straggler
from hvdtrain.train.health.outliers import find_slow, name_stragglers

SECONDS = st.floats(0.001, 1000)


def names(seconds: list[float]) -> list[int]:
    return [slow.index for slow in find_slow(seconds)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], []),
        ([1.0], []),
        ([1.0, 1.09], []),
        ([1.0, 1.11], [1]),
        ([1.2, 1.0, 1.0, 1.0], [0]),
        ([1.0, 1.0, 3.0, 2.0, 1.0, 1.0], [2, 3]),
        # The group varies by itself: more than 10 % above its median, and nothing unusual.
        ([0.7, 0.85, 1.0, 1.15, 1.3], []),
    ],
)
def test_the_rule(seconds: list[float], expected: list[int]) -> None:
    assert names(seconds) == expected


def test_seconds_of_a_clock_that_was_set_back_stop_nobody() -> None:
    assert find_slow([0.0, 1.0]) == ()
    assert find_slow([-3.0, 1.0, 1.0]) == ()


def test_the_ratio_is_to_the_median_of_the_others() -> None:
    (slow,) = find_slow([1.0, 6.0, 2.0, 2.0])
    assert (slow.index, slow.ratio) == (1, 3.0)


def test_two_slow_nodes_of_many_are_found_and_nothing_else() -> None:
    noise = random.Random(7)
    seconds = [noise.gauss(1.0, 0.02) for _ in range(1536)]
    seconds[17], seconds[1400] = 1.3, 1.5
    assert names(seconds) == [1400, 17]


@given(st.lists(SECONDS, max_size=12))
def test_it_is_the_rule_for_every_member(seconds: list[float]) -> None:
    expected = set()
    for index, value in enumerate(seconds):
        others = seconds[:index] + seconds[index + 1 :]
        if others:
            middle = statistics.median(others)
            spread = statistics.median([abs(other - middle) for other in others])
            if value > middle * 1.1 and value - middle > 3 * 1.4826 * spread:
                expected.add(index)
    assert set(names(seconds)) == expected


@given(st.lists(SECONDS, min_size=1, max_size=12))
def test_the_fastest_half_is_never_named(seconds: list[float]) -> None:
    half = sorted(range(len(seconds)), key=seconds.__getitem__)[: (len(seconds) + 1) // 2]
    assert not set(names(seconds)) & set(half)


def test_a_straggler_has_its_rank_and_its_host() -> None:
    found = name_stragglers([1.0, 1.0, 1.5, None], ["n1", "n1", "n2", "n2"])
    assert found == (Straggler(rank=2, host="n2", seconds=1.5, ratio=1.5),)
    assert name_stragglers([None, None], ["n1", "n2"]) == ()
