"""Which partition takes a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.job.partition import candidates, place_job
from hvdtrain.plan.machine.system import Partition, load_system

KNL = load_system("stampede2-knl")


@pytest.mark.parametrize(
    ("system", "nodes", "forecast_min", "partition"),
    [
        ("stampede2-knl", 256, 51, "normal"),
        ("stampede2-knl", 257, 51, "large"),
        ("stampede2-knl", 1536, 51, "large"),
        ("stampede2-knl", 2048, 51, "large"),
        ("stampede2-knl", 16, 2880, "normal"),
        ("stampede2-knl", 16, 2881, "long"),
        ("stampede2-skx", 128, 10, "skx-normal"),
        ("stampede2-skx", 129, 10, "skx-large"),
        ("frontera", 2, 60, "small"),
        ("frontera", 3, 60, "normal"),
        ("frontera", 513, 60, "large"),
        ("leonardo-dcgp", 16, 60, "dcgp_usr_prod"),
        ("leonardo-dcgp", 17, 60, "dcgp_qos_bprod"),
        ("leonardo-dcgp", 3, 2000, "dcgp_qos_lprod"),
        ("archer2", 1025, 60, "largescale"),
        ("archer2", 64, 1441, "long"),
    ],
)
def test_the_limits_choose(system: str, nodes: int, forecast_min: int, partition: str) -> None:
    placement = place_job(candidates(load_system(system)), nodes, forecast_min=forecast_min)
    assert placement.partition.name == partition
    assert placement.walltime_min == forecast_min
    assert placement.fits


def test_a_partition_for_long_jobs_takes_no_short_ones() -> None:
    archer2 = load_system("archer2")
    assert place_job(candidates(archer2), 64, forecast_min=60).partition.name == "standard"
    only_long = candidates(archer2, "long")
    assert place_job(only_long, 64, forecast_min=60).walltime_min == 1440
    with pytest.raises(InputError, match="1-00:00:00 to 4-00:00:00") as caught:
        place_job(only_long, 64, walltime_min=60)
    assert "--walltime 1-00:00:00" in str(caught.value)


def test_without_a_forecast_the_wall_time_is_the_limit() -> None:
    placement = place_job(candidates(KNL), 300)
    assert (placement.partition.name, placement.walltime_min) == ("large", 2880)


def test_a_forecast_beyond_all_limits_gets_the_longest_and_says_so() -> None:
    placement = place_job(candidates(KNL), 4, forecast_min=100_000)
    assert (placement.partition.name, placement.walltime_min) == ("long", 7200)
    assert not placement.fits


def test_a_qos_chooses_its_partition() -> None:
    system = load_system("marenostrum5-gpp")
    assert [entry.name for entry in candidates(system, qos="gp_resa")] == ["gp_resa"]
    assert [entry.name for entry in candidates(system, qos="other")] == ["gp_ehpc"]


@pytest.mark.parametrize(
    ("nodes", "name", "fix"),
    [(2049, None, 2048), (0, None, 1), (-5, None, 1), (33, "long", 32), (257, "normal", 256)],
)
def test_too_many_nodes_are_refused_with_the_nearest_number(
    nodes: int, name: str | None, fix: int
) -> None:
    with pytest.raises(InputError) as caught:
        place_job(candidates(KNL, name), nodes)
    assert (caught.value.field, caught.value.fix) == ("--nodes", f"--nodes {fix}")
    place_job(candidates(KNL, name), fix)


def test_too_long_a_wall_time_is_refused_with_the_limit() -> None:
    with pytest.raises(InputError) as caught:
        place_job(candidates(KNL), 1536, walltime_min=2881)
    assert caught.value.fix == "--walltime 2-00:00:00"
    assert "large (1-2048 nodes, 2-00:00:00)" in str(caught.value)


def test_an_unknown_partition_is_answered_with_the_most_similar() -> None:
    with pytest.raises(InputError) as caught:
        candidates(KNL, "Large")
    assert caught.value.fix == "--partition large"


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(1, 500)), min_size=1),
    st.integers(0, 120),
    st.none() | st.integers(1, 600),
    st.none() | st.integers(1, 600),
)
def test_no_job_is_placed_beyond_a_limit(
    limits: list[tuple[int, int, int]],
    nodes: int,
    walltime_min: int | None,
    forecast_min: int | None,
) -> None:
    entries = [
        Partition(
            name=f"p{index}",
            partition="p",
            min_nodes=low,
            max_nodes=low + more,
            max_walltime_min=minutes,
        )
        for index, (low, more, minutes) in enumerate(limits)
    ]
    taking = [entry for entry in entries if entry.min_nodes <= nodes <= entry.max_nodes]
    refused = ""
    try:
        placement = place_job(entries, nodes, walltime_min=walltime_min, forecast_min=forecast_min)
    except InputError as error:
        refused = error.field
    longest = max((entry.max_walltime_min for entry in taking), default=0)
    if not taking:
        assert refused == "--nodes"
    elif walltime_min is not None and walltime_min > longest:
        assert refused == "--walltime"
    else:
        assert not refused
        assert placement.partition in taking
        assert placement.walltime_min <= placement.partition.max_walltime_min
