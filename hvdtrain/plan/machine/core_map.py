"""The core map: which cores of a node compute, communicate and load data, for every rank.

The paper pins the two kinds of work to cores of their own (Section IV-E): on Knights Landing the
first 64 cores compute and the last 4 communicate; on two-socket Skylake 22 cores of each socket
compute and 2 communicate. The solver does the same for any node.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.machine.topology import Core, Topology

COMPUTE_CORES_PER_LOADER = 16
"""Compute cores for which one core loads.

To decode and crop a photograph of ImageNet takes 2.3 ms of one core (AMD EPYC, 200 photographs of
112 kB in the mean). In that time 16 cores train half an image in bfloat16, at 14 images a second
each, so a loader may find its core busy half of the time.
"""


class RankCores(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The hardware threads of one rank of a node, as processor ids.

    Attributes:
        compute: One hardware thread of each compute core; never empty.
        comm: One hardware thread of each communication core; empty: the rank has none of its
            own and communicates on its compute cores.
        horovod: Where Horovod's background thread belongs.
        data: Where data is loaded: hardware threads of the communication cores that nothing
            else uses. Where there are none, the communication cores and a few compute cores;
            where nothing communicates by itself, the compute cores.
    """

    compute: tuple[int, ...]
    comm: tuple[int, ...]
    horovod: int
    data: tuple[int, ...]

    @property
    def data_shares_compute(self) -> bool:
        """Whether data loading may run on compute cores."""
        return not set(self.data).isdisjoint(self.compute)

    @property
    def all(self) -> tuple[int, ...]:
        """Every hardware thread of the rank, sorted."""
        return tuple(sorted({*self.compute, *self.comm, self.horovod, *self.data}))


class CoreMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ranks of one node, in order of their local rank, and cores that nobody uses."""

    ranks: tuple[RankCores, ...]
    idle: tuple[int, ...]

    @property
    def comm_per_rank(self) -> int:
        """Communication cores of every rank."""
        return len(self.ranks[0].comm)

    @property
    def comm_cores(self) -> int:
        """Communication cores of the node."""
        return sum(len(rank.comm) for rank in self.ranks)


def make_core_map(topology: Topology, ranks_per_node: int, comm_cores: int) -> CoreMap:
    """Deal the cores of a node to its ranks.

    Every rank gets as many cores as every other. Ranks stay inside a socket when they divide
    evenly over the sockets, and take whole sockets when the sockets divide evenly over them.
    Communication cores are the last ones of each socket that the rank touches.

    Args:
        topology: Cores, sockets and hardware threads of the node.
        ranks_per_node: MPI ranks on the node, at least 1.
        comm_cores: Communication cores of the whole node; a multiple of `ranks_per_node`.

    Raises:
        InputError: More ranks than cores, communication cores that do not divide, or no compute
            core left; the message gives the nearest legal value.
    """
    cores = topology.cores
    if not 1 <= ranks_per_node <= len(cores):
        raise InputError(
            "--ranks-per-node",
            ranks_per_node,
            f"1 to {len(cores)}, one core for each rank",
            f"--ranks-per-node {min(max(1, ranks_per_node), len(cores))}",
        )
    shares = _deal(topology, ranks_per_node)
    smallest = min(len(share) for share in shares)
    most = (smallest - 1) * ranks_per_node
    if comm_cores < 0 or comm_cores % ranks_per_node or comm_cores > most:
        nearest = round(comm_cores / ranks_per_node) * ranks_per_node
        raise InputError(
            "--comm-cores",
            comm_cores,
            f"a multiple of the {ranks_per_node} ranks per node, from 0 to {most}",
            f"--comm-cores {min(max(0, nearest), most)}",
        )
    ranks = tuple(_split_share(share[:smallest], comm_cores // ranks_per_node) for share in shares)
    used = {cpu for rank in ranks for cpu in rank.all}
    idle = tuple(core.cpu for core in cores if not used.intersection(core.cpus))
    return CoreMap(ranks, idle)


def default_comm_cores(cores: int, ranks_per_node: int, comm_cores: int) -> int:
    """The system's communication cores, for another number of ranks per node.

    Rounded up so that every rank has as many as the others; none at all when that would take
    more than a quarter of the node.

    Args:
        cores: Physical cores of the node.
        ranks_per_node: MPI ranks on the node.
        comm_cores: What the system has for its own number of ranks.
    """
    if ranks_per_node < 1:
        return comm_cores
    rounded = -(-comm_cores // ranks_per_node) * ranks_per_node
    return rounded if rounded * 4 <= cores else 0


def _deal(topology: Topology, ranks: int) -> list[Sequence[Core]]:
    """One share of cores per rank; shares of a socket differ by at most one core."""
    by_socket = [
        [core for core in topology.cores if core.socket == socket] for socket in topology.sockets
    ]
    sockets = len(by_socket)
    if ranks % sockets == 0 and ranks // sockets <= min(map(len, by_socket)):
        return [share for cores in by_socket for share in _cut(cores, ranks // sockets)]
    if sockets % ranks == 0:
        whole = sockets // ranks
        return [
            list(itertools.chain.from_iterable(by_socket[rank * whole : (rank + 1) * whole]))
            for rank in range(ranks)
        ]
    return _cut(topology.cores, ranks)


def _cut(cores: Sequence[Core], pieces: int) -> list[Sequence[Core]]:
    size = len(cores) // pieces
    return [cores[piece * size : (piece + 1) * size] for piece in range(pieces)]


def _split_share(share: Sequence[Core], comm_count: int) -> RankCores:
    """Compute cores first in every socket of the share, communication cores last."""
    sockets = sorted({core.socket for core in share})
    taken: set[int] = set()
    for position, socket in enumerate(sockets):
        # What does not divide over the sockets goes to the last ones.
        count = (comm_count + position) // len(sockets)
        own = [core.cpu for core in share if core.socket == socket]
        taken.update(own[max(0, len(own) - count) :])
    # A socket with too few cores leaves the rest to the others.
    for core in reversed(share):
        if len(taken) == comm_count:
            break
        taken.add(core.cpu)
    comm = [core for core in share if core.cpu in taken]
    compute = tuple(core.cpu for core in share if core.cpu not in taken)
    spare = [cpu for core in comm for cpu in core.cpus[1:]]
    return RankCores(
        compute=compute,
        comm=tuple(core.cpu for core in comm),
        horovod=_horovod_cpu(compute, comm, spare),
        data=tuple(sorted(spare[1:])) or _data_cpus(compute, comm),
    )


def _data_cpus(compute: tuple[int, ...], comm: list[Core]) -> tuple[int, ...]:
    """Where no hardware thread is left over.

    A loader on a compute core holds up all compute threads at their next barrier, so there are
    few: the kernel takes the communication cores first, which are idle for most of a step, and
    the last compute cores only when those are not enough.
    """
    if not comm:
        return compute
    few = -(-len(compute) // COMPUTE_CORES_PER_LOADER)
    return tuple(sorted((*compute[-few:], *(core.cpu for core in comm))))


def _horovod_cpu(compute: tuple[int, ...], comm: list[Core], spare: list[int]) -> int:
    """Beside the communication cores' own threads where possible, so that neither waits."""
    if spare:
        return spare[0]
    return comm[0].cpu if comm else compute[-1]
