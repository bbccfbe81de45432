"""The ranks together: join, check that everybody is there, exchange, part.

The classic silent failure is a Horovod that was built for another MPI than the launcher's: every
process then trains alone, as rank 0 of 1, and all of them write the same result.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import horovod.tensorflow as hvd
import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from hvdtrain.errors import RunError
from hvdtrain.names import name_some
from hvdtrain.runs.record import ReductionBackend
from hvdtrain.train.process.rank_environment import Launch, host_name

T = TypeVar("T")
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class World:
    """The ranks of this run, seen from one of them.

    Attributes:
        rank: This one.
        ranks: How many there are.
        hosts: The node name of every rank, in order of rank.
        reduction: The back end of Horovod that reduces.
    """

    rank: int
    ranks: int
    hosts: tuple[str, ...]
    reduction: ReductionBackend

    @property
    def nodes(self) -> int:
        """Different node names."""
        return len(set(self.hosts))

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes and speaks."""
        return self.rank == 0


def join_world(launch: Launch) -> World:
    """Start MPI and Horovod and check that they see the world that the launcher made.

    mpi4py comes first and starts MPI with full thread support; Horovod finds it running, so
    that one rank's early end does not take MPI away from under the others.

    Raises:
        RunError: MPI or Horovod sees another number of ranks, or another rank, than the launcher.
    """
    mpi = MPI.COMM_WORLD
    check_size("MPI", mpi.Get_size(), launch)
    hvd.init()
    check_size("Horovod", hvd.size(), launch)
    if not hvd.rank() == mpi.Get_rank() == launch.rank:
        raise RunError(
            f"rank {launch.rank} of {launch.launcher} is rank {mpi.Get_rank()} of MPI "
            f"and rank {hvd.rank()} of Horovod",
            "start the ranks with the launcher of the MPI that Horovod was built for",
        )
    hosts = tuple(mpi.allgather(host_name(os.environ, launch, socket.gethostname())))
    return World(launch.rank, launch.ranks, hosts, _reduction(launch.ranks))


def check_size(library: str, size: int, launch: Launch) -> None:
    """Raise unless a library sees as many ranks as the launcher started.

    Raises:
        RunError: It sees another number.
    """
    if size != launch.ranks:
        raise RunError(
            f"{launch.launcher} started {launch.ranks} ranks and {library} sees {size}: every "
            "process would train alone",
            "start the ranks with the launcher of the MPI that Horovod was built for; "
            "`hvdtrain doctor` names it",
        )


def check_plan_size(ranks_per_node: int, nodes: int, world: World) -> None:
    """Raise unless the world has the shape that was planned.

    Raises:
        RunError: Another number of ranks.
    """
    if nodes * ranks_per_node != world.ranks:
        raise RunError(
            f"the plan is for {nodes} nodes x {ranks_per_node} ranks and {world.ranks} ranks "
            f"were started on {world.nodes} nodes",
            "make --nodes and --ranks-per-node equal to what the launcher starts",
        )


def allgather(value: T) -> list[T]:
    """The value of every rank, in order of rank, on every rank."""
    values: list[T] = MPI.COMM_WORLD.allgather(value)
    return values


def allgather_row(row: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The rows of all ranks, [ranks, values], on every rank. Collective, and without a pickle.

    Args:
        row: [values], of the same length and type on every rank.
    """
    rows = np.empty((MPI.COMM_WORLD.Get_size(), len(row)), row.dtype)
    MPI.COMM_WORLD.Allgather(np.ascontiguousarray(row), rows)
    return rows


def gather(value: T) -> list[T] | None:
    """The value of every rank, in order of rank, on rank 0; None on the others. Collective."""
    values: list[T] | None = MPI.COMM_WORLD.gather(value, root=0)
    return values


def is_true_anywhere(value: bool) -> bool:
    """Whether it is true on any rank. Collective."""
    found = np.array([value])
    MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, found, op=MPI.LOR)
    return bool(found[0])


def barrier() -> None:
    """Return when every rank has called it. Collective."""
    MPI.COMM_WORLD.Barrier()


def bcast_from_root(make: Callable[[], T], world: World) -> T:
    """What rank 0 makes, on every rank. Collective.

    What all ranks must agree on is decided once, and what is wrong with it is said once. When
    `make` raises, the other ranks wait until rank 0 ends them.
    """
    made: T = MPI.COMM_WORLD.bcast(make() if world.is_first else None, root=0)
    return made


def bcast_on_node(make: Callable[[], T]) -> T:
    """What the first rank of each node makes, on all ranks of that node. Collective.

    For what depends on a node's own files and costs too much for each of its ranks. When `make`
    raises, the others wait until that rank ends them.
    """
    node = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        made: T = node.bcast(make() if node.Get_rank() == 0 else None, root=0)
    finally:
        node.Free()
    return made


def gather_rows(row: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """The rows of all ranks, float32 [ranks, values], on rank 0; None on the others. Collective.

    Args:
        row: float32 [values], the same number on every rank.
    """
    world = MPI.COMM_WORLD
    rows = np.empty((world.Get_size(), len(row)), np.float32) if world.Get_rank() == 0 else None
    world.Gather(row, rows, root=0)
    return rows


def scatter_rows(rows: npt.NDArray[np.float32] | None, values: int) -> npt.NDArray[np.float32]:
    """This rank's row, float32 [values], of what rank 0 has for all of them. Collective.

    Args:
        rows: float32 [ranks, values] on rank 0; not looked at on the others.
        values: Length of a row.
    """
    row = np.empty(values, np.float32)
    MPI.COMM_WORLD.Scatter(rows, row, root=0)
    return row


class RankAgreement:
    """Finds the largest of the numbers that the ranks propose, while they do other things."""

    def __init__(self) -> None:
        self._proposed = np.zeros(1, np.int32)
        self._largest = np.zeros(1, np.int32)
        self._request: MPI.Request | None = None

    def propose(self, number: int) -> None:
        """Start; does not wait."""
        self._proposed[0] = number
        self._request = MPI.COMM_WORLD.Iallreduce(self._proposed, self._largest, op=MPI.MAX)

    def result(self) -> int:
        """The largest number of the last proposal, on every rank. Waits for all of them."""
        assert self._request is not None
        self._request.Wait()
        return int(self._largest[0])


def require_equal(what: str, value: object, world: World) -> None:
    """Raise unless every rank has the same value. Collective.

    Raises:
        RunError: Some rank differs from rank 0; the message names those ranks and their nodes.
    """
    values = allgather(value)
    different = [rank for rank, other in enumerate(values) if other != values[0]]
    if different:
        named = name_some([f"{rank} on {world.hosts[rank]}" for rank in different])
        raise RunError(
            f"{what}: {len(different)} of {world.ranks} ranks differ from rank 0: {named}",
            "give every node the same installation and the same data",
        )


def mpi_size() -> int:
    """How many ranks MPI sees."""
    size: int = MPI.COMM_WORLD.Get_size()
    return size


def library_version() -> str:
    """The MPI library's own name and version."""
    return str(MPI.Get_library_version()).strip("\0\n ").splitlines()[0]


def leave_world() -> None:
    """Wait for every rank, then shut Horovod down, so that nobody is cut off."""
    barrier()
    hvd.shutdown()


def abort_world(exit_code: int) -> NoReturn:
    """End every rank now: the others would wait for this one forever. Does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    MPI.COMM_WORLD.Abort(exit_code)
    os._exit(exit_code)


def _reduction(ranks: int) -> ReductionBackend:
    """Horovod's order is Gloo, oneCCL, MPI, unless HOROVOD_CPU_OPERATIONS names one."""
    if ranks == 1:
        return "none"
    match os.environ.get("HOROVOD_CPU_OPERATIONS", "").upper():
        case "MPI" | "CCL" | "GLOO" as named:
            return named
        case _:
            return "CCL" if hvd.ccl_built() else "MPI"
