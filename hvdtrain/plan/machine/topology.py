"""Which hardware thread sits on which core, socket and NUMA domain of a node."""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.machine.system import Node


class HardwareThread(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """A hardware thread: what the kernel calls a CPU.

    The order of the fields is the order in which cores are dealt to ranks.
    """

    socket: int
    numa: int
    core: int
    cpu: int


class Core(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A physical core and the ids of its hardware threads, lowest first."""

    socket: int
    cpus: tuple[int, ...]

    @property
    def cpu(self) -> int:
        """The first hardware thread: the one that works for the core."""
        return self.cpus[0]


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cores of a node, ordered by socket, NUMA domain and core."""

    cores: tuple[Core, ...]

    @property
    def sockets(self) -> tuple[int, ...]:
        """Socket ids in order."""
        return tuple(dict.fromkeys(core.socket for core in self.cores))

    @property
    def cpus(self) -> frozenset[int]:
        """Every hardware thread of the node."""
        return frozenset(cpu for core in self.cores for cpu in core.cpus)


def make_topology(node: Node) -> Topology:
    """The topology that a system file describes.

    Cores are numbered first, over all sockets; the second hardware threads follow in the same
    order, and so on. On Knights Landing that makes CPU i, i+68, i+136 and i+204 one core. Where
    the numbering is not certain, `block` is assumed and a job corrects it at its start.
    """
    threads = []
    for index in range(node.cores):
        if node.numbering == "interleaved":
            socket, own_core = index % node.sockets, index // node.sockets
        else:
            socket, own_core = divmod(index, node.cores_per_socket)
        numa = own_core * node.numa_per_socket // node.cores_per_socket
        threads += [
            HardwareThread(socket, numa, index, index + sibling * node.cores)
            for sibling in range(node.threads_per_core)
        ]
    return _group(threads)


def parse_lscpu(text: str, allowed: Container[int] | None = None) -> Topology:
    """The topology that `lscpu -p=CPU,CORE,SOCKET,NODE` printed on a node.

    Args:
        text: Its output; comment lines start with #. An empty socket or node counts as 0.
        allowed: Hardware threads that this process may use; None: all.

    Raises:
        InputError: A line has another form, or no usable thread is left.
    """
    threads = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\d+),(\d+),(\d*),(\d*)", line.strip())
        if match is None:
            raise InputError("lscpu -p", line, "lines of the form CPU,CORE,SOCKET,NODE")
        cpu, core, socket, numa = (int(part or 0) for part in match.groups())
        if allowed is None or cpu in allowed:
            threads.append(HardwareThread(socket, numa, core, cpu))
    if not threads:
        raise InputError("lscpu -p", text[:80], "at least one processor that may be used")
    return _group(threads)


def _group(threads: list[HardwareThread]) -> Topology:
    # Some kernels count cores anew in every socket, so a core is known by all three numbers.
    cores: dict[tuple[int, int, int], list[int]] = {}
    for thread in sorted(threads):
        cores.setdefault((thread.socket, thread.numa, thread.core), []).append(thread.cpu)
    return Topology(tuple(Core(key[0], tuple(sorted(cpus))) for key, cpus in cores.items()))
