"""Groups of gradients grow with the ranks, where latency would rule smaller ones."""

from __future__ import annotations

import pytest

from hvdtrain.plan.forecast.gradient_groups import FEWEST_BYTES, MESSAGE_SECONDS, group_bytes


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (1, 8_388_608),
        (2, 8_388_608),
        (256, 8_388_608),
        (447, 8_388_608),
        (448, 8_400_000),
        (512, 9_600_000),
        (1024, 19_200_000),
        (1536, 28_800_000),
    ],
)
def test_the_groups_of_some_ranks(ranks: int, expected: int) -> None:
    assert group_bytes(ranks) == expected


@pytest.mark.parametrize("ranks", [448, 1000, 1536, 8192])
def test_a_ring_waits_as_long_for_its_messages_as_for_their_bytes(ranks: int) -> None:
    """Each of 2 (N - 1) messages carries 1 / N of the group over a link of 12.5 GB/s."""
    bytes_of_a_message = group_bytes(ranks) / ranks
    assert bytes_of_a_message / 12.5e9 == pytest.approx(MESSAGE_SECONDS, rel=1e-6)


def test_they_never_shrink_with_more_ranks() -> None:
    sizes = [group_bytes(ranks) for ranks in range(1, 3000)]
    assert sizes == sorted(sizes)
    assert sizes[0] == FEWEST_BYTES
