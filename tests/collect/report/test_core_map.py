"""The picture of a node's processors."""

from __future__ import annotations

import pytest

from hvdtrain.collect.report.core_map import make_core_map_view
from hvdtrain.runs.record import RankPlacement


def rank(
    number: int, compute: str, communication: str, data: str, host: str = "a"
) -> RankPlacement:
    return RankPlacement(
        rank=number, host=host, compute=compute, communication=communication, data=data
    )


def test_every_processor_of_the_first_node_has_its_use() -> None:
    """Two ranks; processor 19 belongs to nobody, and the second node is not drawn."""
    view = make_core_map_view(
        (rank(0, "0-8", "9", "18"), rank(1, "10-16", "17", "20"), rank(2, "0-63", "", "", "b"))
    )
    assert view is not None
    assert (view.host, view.ranks) == ("a", 2)
    groups = [group for row in view.rows for group in row]
    drawn = "".join(group.cell.letter * group.count for group in groups)
    assert drawn == "aaaaaaaaa#bbbbbbb#d.d"
    assert [row[0].first for row in view.rows] == [0, 16]
    assert [group.first for group in view.rows[0]] == [0, 9, 10]
    assert view.rows[0][2].cell.says == "compute of rank 1"


def test_a_processor_with_two_uses_says_both() -> None:
    view = make_core_map_view((rank(0, "0", "0", ""),))
    assert view is not None
    ((group,),) = view.rows
    assert group.cell.letter == "a"
    assert group.cell.says == "compute of rank 0; communication of rank 0"


@pytest.mark.parametrize("compute", ["", "x", "0-99999", "5-1", "0-99999," * 10_000])
def test_what_is_no_node_is_not_drawn(compute: str) -> None:
    assert make_core_map_view((rank(0, compute, "", ""),)) is None
    assert make_core_map_view(()) is None
