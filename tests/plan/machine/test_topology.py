"""Nodes as system files describe them and as lscpu prints them."""

from __future__ import annotations

import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.machine.system import Node, load_system
from hvdtrain.plan.machine.topology import Core, make_topology, parse_lscpu


def test_knights_landing_has_four_threads_68_apart() -> None:
    topology = make_topology(load_system("stampede2-knl").node)
    assert len(topology.cores) == 68
    assert topology.cores[5].cpus == (5, 73, 141, 209)


def test_interleaved_sockets_have_even_and_odd_ids() -> None:
    topology = make_topology(load_system("stampede2-skx").node)
    assert [core.cpu for core in topology.cores if core.socket == 0] == list(range(0, 48, 2))
    assert topology.cores[0] == Core(0, (0, 48))


def test_numa_domains_come_in_order() -> None:
    node = Node(
        processor="p",
        sockets=2,
        cores_per_socket=4,
        threads_per_core=1,
        numa_per_socket=2,
        numbering="block",
        avx512="none",
        memory_gb=1,
    )
    assert [core.cpu for core in make_topology(node).cores] == list(range(8))


def test_lscpu_is_read_with_comments_and_empty_columns() -> None:
    topology = parse_lscpu("# CPU,Core,Socket,Node\n0,0,,\n1,0,,\n2,1,,\n3,1,,\n")
    assert topology.cores == (Core(0, (0, 1)), Core(0, (2, 3)))


def test_only_the_processors_of_the_job_count() -> None:
    topology = parse_lscpu("0,0,0,0\n1,1,0,0\n2,0,0,0\n3,1,0,0\n", allowed={1, 2, 3})
    assert topology.cores == (Core(0, (2,)), Core(0, (1, 3)))


def test_kernels_that_count_cores_anew_in_every_socket_are_understood() -> None:
    topology = parse_lscpu("0,0,0,0\n1,0,1,1\n")
    assert [core.socket for core in topology.cores] == [0, 1]


@pytest.mark.parametrize("text", ["", "# nothing\n", "0,0,0\n", "a,b,c,d\n", "0,0,0,0,0\n"])
def test_what_is_not_lscpu_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_lscpu(text)


def test_a_job_without_processors_is_refused() -> None:
    with pytest.raises(InputError):
        parse_lscpu("0,0,0,0\n", allowed=set())
