"""One rank that differs must be found, named, and left out of the next job."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.names import name_ranks
from hvdtrain.runs.preflight import NodeSpeed, RankAnswer
from hvdtrain.train.preflight.verdict import (
    exclude_option,
    find_slow_nodes,
    judge_sameness,
    judge_shape,
    judge_sums,
)
from tests.samples import sample_record

VERSIONS = sample_record().versions
OTHER = msgspec.structs.replace(VERSIONS, tensorflow="2.14.0")


def answers(count: int = 4, **odd: Any) -> list[RankAnswer]:
    """Two ranks on each node; the last rank is odd."""
    ranks = [
        RankAnswer(
            rank=rank,
            host=f"n{rank // 2}",
            versions=VERSIONS,
            plan_sha256="aa",
            fingerprint="bb",
        )
        for rank in range(count)
    ]
    return [*ranks[:-1], msgspec.structs.replace(ranks[-1], **odd)]


def test_ranks_of_one_kind_have_no_fault() -> None:
    assert judge_sameness(answers()) == ()
    assert judge_sameness(answers(1)) == ()


@pytest.mark.parametrize(
    ("odd", "check"),
    [
        ({"versions": OTHER}, "versions"),
        ({"plan_sha256": "cc"}, "plan"),
        # Other data make another plan; it is the data that is said.
        ({"fingerprint": "cc", "plan_sha256": "dd"}, "data"),
        ({"plan_sha256": None, "fingerprint": "", "input_error": "nothing there"}, "data"),
    ],
)
def test_the_odd_rank_is_named(odd: dict[str, Any], check: str) -> None:
    (fault,) = judge_sameness(answers(**odd))
    assert fault.check == check
    assert "rank 3 on n1" in fault.text
    assert fault.hosts == ("n1",)
    assert odd.get("input_error", "") in fault.text


def test_most_ranks_are_right_even_where_rank_0_is_not() -> None:
    ranks = answers()
    ranks[0] = msgspec.structs.replace(ranks[0], versions=OTHER)
    (fault,) = judge_sameness(ranks)
    assert "rank 0 on n0" in fault.text


def test_no_node_is_excluded_for_what_all_nodes_have() -> None:
    (fault,) = judge_sameness(answers(2, plan_sha256="cc"))
    assert fault.hosts == ()


@pytest.mark.parametrize(
    ("hosts", "nodes", "ranks_per_node", "expected"),
    [
        (["a", "a", "b", "b"], 2, 2, None),
        (["a", "b"], None, None, None),
        (["a", "a", "b", "b"], 4, 2, "4 nodes x 2 ranks and 4 ranks were started on 2 nodes"),
        (["a", "a", "a", "b"], 2, 2, "3 ranks were started on a and 1 on b"),
    ],
)
def test_the_shape_of_the_world(
    hosts: list[str], nodes: int | None, ranks_per_node: int | None, expected: str | None
) -> None:
    faults = judge_shape(hosts, nodes, ranks_per_node)
    assert len(faults) == (expected is not None)
    assert expected is None or expected in faults[0].text


def test_a_wrong_sum_is_a_fault_on_whatever_rank() -> None:
    assert judge_sums([(), ()], ["n1", "n2"]) == ()
    (fault,) = judge_sums([(), (4096,), (4096, 1048576)], ["n1", "n2", "n2"])
    assert fault.text == "wrong sum of 4096, 1048576 bytes on ranks 1, 2 on n2"


def speeds(*pairs: tuple[float, float]) -> list[NodeSpeed]:
    return [
        NodeSpeed(host=f"n{number}", gflop_per_second=compute, triad_gb_per_second=memory)
        for number, (compute, memory) in enumerate(pairs)
    ]


def test_slow_nodes_are_named_by_what_is_slow() -> None:
    nodes = speeds((100, 50), (101, 50), (99, 25), (80, 50), (100, 51))
    found = find_slow_nodes(nodes)
    assert [(slow.host, slow.what) for slow in found] == [("n2", "memory"), ("n3", "compute")]
    assert found[0].ratio == pytest.approx(2.0)
    assert find_slow_nodes(speeds((100, 50))) == ()


@settings(max_examples=50)
@given(st.lists(st.floats(1, 1.09), min_size=2, max_size=8), st.floats(0.1, 1e4))
def test_differences_of_less_than_a_tenth_name_nobody(factors: list[float], speed: float) -> None:
    assert find_slow_nodes(speeds(*((speed * f, speed * f) for f in factors))) == ()


def test_the_option_of_sbatch() -> None:
    hosts = ["c1-002.cluster.org", "c1-001.cluster.org", "c1-002.cluster.org"]
    assert exclude_option(hosts) == "--exclude=c1-[001-002]"
    assert exclude_option([]) == ""


def test_many_ranks_are_counted() -> None:
    assert name_ranks([3]) == "rank 3"
    assert name_ranks(range(20)) == "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
