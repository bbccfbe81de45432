"""The core map: the paper's maps exactly, and what holds for every node."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.plan.machine.core_map import CoreMap, default_comm_cores, make_core_map
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.machine.topology import Topology, make_topology, parse_lscpu
from hvdtrain.units import format_cpu_list


def core_map_of(system: str, ranks_per_node: int | None = None) -> CoreMap:
    known = load_system(system)
    ranks = ranks_per_node or known.cores.ranks_per_node
    return make_core_map(make_topology(known.node), ranks, known.cores.comm_cores)


def lists(cores: CoreMap) -> list[tuple[str, str]]:
    """Compute and communication cores of every rank, as the kernel writes them."""
    return [(format_cpu_list(rank.compute), format_cpu_list(rank.comm)) for rank in cores.ranks]


@pytest.mark.parametrize(
    ("system", "ranks", "expected"),
    [
        # Source: Section IV-E.
        ("stampede2-knl", 1, [("0-63", "64-67")]),
        ("marenostrum4", 1, [("0-21,24-45", "22-23,46-47")]),
        # Even processor ids are socket 0: 22 of each parity compute.
        ("stampede2-skx", 1, [("0-43", "44-47")]),
        ("marenostrum4", 2, [("0-21", "22-23"), ("24-45", "46-47")]),
        (
            "stampede2-skx",
            2,
            [
                (",".join(map(str, range(0, 44, 2))), "44,46"),
                (",".join(map(str, range(1, 44, 2))), "45,47"),
            ],
        ),
        ("stampede2-knl", 2, [("0-31", "32-33"), ("34-65", "66-67")]),
        ("lumi-c", 2, [("0-62", "63"), ("64-126", "127")]),
    ],
)
def test_the_maps_that_are_known(system: str, ranks: int, expected: list[tuple[str, str]]) -> None:
    assert lists(core_map_of(system, ranks)) == expected


def test_knights_landing_communicates_and_loads_on_the_last_four_cores() -> None:
    (rank,) = core_map_of("stampede2-knl").ranks
    on_last_cores = {core + 68 * thread for core in range(64, 68) for thread in range(4)}
    assert rank.horovod == 132
    assert {rank.horovod, *rank.data} == on_last_cores - set(rank.comm)


def test_without_hyper_threads_data_is_loaded_beside_communication() -> None:
    (rank,) = core_map_of("marenostrum4").ranks
    assert rank.comm == (22, 23, 46, 47)
    assert rank.data == (22, 23, 43, 44, 45, 46, 47)
    assert rank.data_shares_compute
    assert rank.horovod in rank.comm


def test_without_communication_cores_everything_shares() -> None:
    topology = parse_lscpu("0,0,0,0\n1,1,0,0\n")
    cores = make_core_map(topology, 2, 0)
    assert [rank.compute for rank in cores.ranks] == [(0,), (1,)]
    assert [rank.comm for rank in cores.ranks] == [(), ()]
    assert [rank.horovod for rank in cores.ranks] == [0, 1]


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """A node of any numbering, of which a job may have only a part."""
    sockets = draw(st.integers(1, 4))
    cores = draw(st.integers(1, 20))
    threads = draw(st.integers(1, 4))
    numas = draw(st.integers(1, 3))
    places = list(itertools.product(range(sockets), range(cores), range(threads)))
    match draw(st.sampled_from(["block", "interleaved", "shuffled"])):
        case "block":
            order = sorted(places, key=lambda place: (place[2], place[0], place[1]))
        case "interleaved":
            order = sorted(places, key=lambda place: (place[2], place[1], place[0]))
        case _:
            order = draw(st.permutations(places))
    lines = [
        f"{cpu},{socket * cores + core},{socket},{socket * numas + core * numas // cores}"
        for cpu, (socket, core, _) in enumerate(order)
    ]
    allowed = draw(st.one_of(st.none(), st.sets(st.integers(0, len(lines) - 1), min_size=1)))
    return parse_lscpu("\n".join(lines), allowed)


@st.composite
def solved(draw: st.DrawFn) -> tuple[Topology, CoreMap, int, int]:
    topology = draw(topologies())
    ranks = draw(st.integers(1, len(topology.cores)))
    # Some ranks keep one core only: what does not fit is tested below.
    comm = draw(st.integers(0, max(0, len(topology.cores) // ranks - 1))) * ranks
    try:
        return topology, make_core_map(topology, ranks, comm), ranks, comm
    except InputError as error:
        # Uneven sockets can leave a rank less than its even share; the nearest value is legal.
        comm = int(error.fix.removeprefix("--comm-cores "))
        return topology, make_core_map(topology, ranks, comm), ranks, comm


@given(solved())
def test_every_rank_is_served_and_no_core_twice(
    case: tuple[Topology, CoreMap, int, int],
) -> None:
    topology, cores, ranks, comm = case
    core_of = {cpu: index for index, core in enumerate(topology.cores) for cpu in core.cpus}
    assert len(cores.ranks) == ranks
    working = [cpu for rank in cores.ranks for cpu in (*rank.compute, *rank.comm)]
    # One thread of each core: neither a processor nor a core works twice.
    assert len({core_of[cpu] for cpu in working}) == len(working)
    assert len({len(rank.compute) for rank in cores.ranks}) == 1
    for rank in cores.ranks:
        assert rank.compute
        assert len(rank.comm) == comm // ranks
    assert {core_of[cpu] for cpu in cores.idle}.isdisjoint(core_of[cpu] for cpu in working)
    assert len(cores.idle) + len(working) == len(topology.cores)


@given(solved())
def test_no_rank_touches_the_cores_of_another(
    case: tuple[Topology, CoreMap, int, int],
) -> None:
    topology, cores, _, _ = case
    core_of = {cpu: index for index, core in enumerate(topology.cores) for cpu in core.cpus}
    owned = [{core_of[cpu] for cpu in rank.all} for rank in cores.ranks]
    assert sum(map(len, owned)) == len(set().union(*owned))
    for rank in cores.ranks:
        busy = {*rank.compute, *rank.comm, rank.horovod}
        if rank.comm and set(rank.data) & busy:
            loading = set(rank.data) - set(rank.comm)
            assert loading <= set(rank.compute)
            assert len(loading) == len(rank.data) - len(rank.comm) == -(-len(rank.compute) // 16)
        else:
            assert rank.comm or rank.data == rank.compute


@given(st.integers(1, 4), st.integers(1, 16), st.integers(1, 4))
def test_ranks_stay_inside_a_socket_when_they_divide(
    sockets: int, cores: int, ranks_per_socket: int
) -> None:
    lines = [f"{index},{index},{index // cores}," for index in range(sockets * cores)]
    if ranks_per_socket > cores:
        return
    topology = parse_lscpu("\n".join(lines))
    for rank in make_core_map(topology, sockets * ranks_per_socket, 0).ranks:
        assert len({cpu // cores for cpu in rank.all}) == 1


@pytest.mark.parametrize(
    ("ranks", "comm", "field", "fix"),
    [
        (0, 0, "--ranks-per-node", "--ranks-per-node 1"),
        (69, 0, "--ranks-per-node", "--ranks-per-node 68"),
        (2, 3, "--comm-cores", "--comm-cores 4"),
        (1, 68, "--comm-cores", "--comm-cores 67"),
        (1, -1, "--comm-cores", "--comm-cores 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_nearest_that_does(
    ranks: int, comm: int, field: str, fix: str
) -> None:
    topology = make_topology(load_system("stampede2-knl").node)
    with pytest.raises(InputError) as caught:
        make_core_map(topology, ranks, comm)
    assert (caught.value.field, caught.value.fix) == (field, fix)
    option, value = fix.split()
    values = {"--ranks-per-node": ranks, "--comm-cores": comm, option: int(value)}
    make_core_map(topology, values["--ranks-per-node"], values["--comm-cores"])


@given(st.integers(1, 300), st.integers(-2, 300), st.integers(0, 300))
def test_the_default_of_communication_cores_always_fits(cores: int, ranks: int, comm: int) -> None:
    found = default_comm_cores(cores, ranks, comm)
    if 1 <= ranks <= cores:
        assert found % ranks == 0
        assert found <= cores // 4
