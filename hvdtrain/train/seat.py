"""What a rank knows of itself and of the others, whatever they are about to do together."""

from __future__ import annotations

from dataclasses import dataclass

from hvdtrain.plan.record import Versions
from hvdtrain.train.launcher import Launch
from hvdtrain.train.pinning import RankPins, thread_ids
from hvdtrain.train.provenance import read_git_commit, read_versions
from hvdtrain.train.world import World, gather_equal, join_world, library_version


@dataclass(frozen=True)
class Seat:
    """A rank's place among all ranks.

    Attributes:
        world: All ranks.
        data_cpus: Processors that this rank loads data on; empty: those that it computes on.
        communication: Threads that MPI and Horovod have started in this process.
        versions: Of the stack, the same on every rank.
        git_commit: Of the source tree; None: not from a checkout.
    """

    world: World
    data_cpus: tuple[int, ...]
    communication: frozenset[int]
    versions: Versions
    git_commit: str | None

    @property
    def loader_threads(self) -> int:
        """Threads that decode images."""
        return max(1, len(self.data_cpus))


def take_seat(launch: Launch, pins: RankPins | None, itex: str | None) -> Seat:
    """Join the world. Collective, once in a process.

    Args:
        launch: What the launcher said.
        pins: Where this rank may run; None: it was not told.
        itex: Version of Intel's TensorFlow extension; None when it is not loaded.

    Raises:
        RunError: The world is not whole, or the ranks are not of one kind.
    """
    # Before MPI: a process that has joined should not fork.
    git_commit = read_git_commit()
    before = thread_ids()
    world = join_world(launch)
    communication = thread_ids() - before
    versions = read_versions(library_version(), itex)
    gather_equal("versions of the stack", versions, world)
    return Seat(world, pins.data if pins else (), communication, versions, git_commit)
