"""What a rank knows of itself and of the others, whatever they are about to do together."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hvdtrain.installation.commit import read_git_commit
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.runs.record import Versions
from hvdtrain.train.health.watchdog import Watchdog
from hvdtrain.train.process.pinning import thread_ids
from hvdtrain.train.process.provenance import read_versions
from hvdtrain.train.process.rank_environment import Launch
from hvdtrain.train.process.world import (
    World,
    bcast_from_root,
    join_world,
    library_version,
    require_equal,
)


@dataclass(frozen=True)
class RankContext:
    """A rank's place among all ranks.

    Attributes:
        world: All ranks.
        cores: This rank's entry in the core map; None: there is no map.
        communication: Threads that MPI and Horovod have started in this process.
        versions: Of the stack, the same on every rank.
        git_commit: Of the source tree; None: not from a checkout.
        watchdog: Is told what this rank begins.
    """

    world: World
    cores: RankCores | None
    communication: frozenset[int]
    versions: Versions
    git_commit: str | None
    watchdog: Watchdog

    @property
    def data_cpus(self) -> tuple[int, ...]:
        """Processors that this rank loads data on; empty: those that it computes on."""
        return self.cores.data if self.cores else ()

    @property
    def loader_threads(self) -> int:
        """Threads that decode images: without a core map this rank's share of its node."""
        if self.cores:
            return len(self.data_cpus)
        neighbours = self.world.hosts.count(self.world.hosts[self.world.rank])
        share = (os.cpu_count() or 1) // neighbours
        return max(1, min(share, len(os.sched_getaffinity(0))))


def make_rank_context(
    launch: Launch, cores: RankCores | None, itex: str | None, watchdog: Watchdog
) -> RankContext:
    """Join the world. Collective, once in a process.

    Args:
        launch: What the launcher said.
        cores: This rank's entry in the core map; None: there is no map.
        itex: Version of Intel's TensorFlow extension; None when it is not loaded.
        watchdog: Of this process.

    Raises:
        RunError: The world is not whole, or the ranks are not of one kind.
    """
    # Before MPI: a process that has joined should not fork.
    git_commit = read_git_commit() if launch.rank == 0 else None
    before = thread_ids()
    world = join_world(launch)
    watchdog.joined(world.hosts)
    communication = thread_ids() - before
    versions = read_versions(library_version(), itex)
    require_equal("versions of the stack", versions, world)
    git_commit = bcast_from_root(lambda: git_commit, world)
    return RankContext(world, cores, communication, versions, git_commit, watchdog)
