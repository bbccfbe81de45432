"""Names the ranks for which the others wait, at the end of every epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np

from hvdtrain.runs.record import Straggler
from hvdtrain.train.health.outliers import name_stragglers
from hvdtrain.train.process.world import World, allgather_row


class StragglerWatch:
    """Compares the ranks' times without their waits for the reduction.

    Args:
        world: All ranks, with their hosts.
        say: Tells a person; called once for each rank that is ever named.
    """

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._named: set[int] = set()
        self._epochs: list[list[float]] = []

    def find(self, compute_seconds: float | None) -> tuple[Straggler, ...]:
        """The stragglers, slowest first. Collective.

        Args:
            compute_seconds: This rank's mean seconds of an update without its wait; None
                on every rank when no update counts.
        """
        mine = math.nan if compute_seconds is None else compute_seconds
        gathered = allgather_row(np.array([mine]))[:, 0].tolist()
        seconds = [None if math.isnan(value) else value for value in gathered]
        known = [value for value in seconds if value is not None]
        if len(known) == self._world.ranks:
            self._epochs.append(known)
        found = name_stragglers(seconds, self._world.hosts)
        for straggler in found:
            if straggler.rank not in self._named:
                self._named.add(straggler.rank)
                self._say(
                    f"rank {straggler.rank} on {straggler.host} is slow: the others wait for it. "
                    f"An update takes it {straggler.seconds:.3g} s without its wait for others, "
                    f"{straggler.ratio:.2f} times the median of the others"
                )
        return found

    @property
    def rank_seconds(self) -> tuple[float, ...]:
        """Every rank's mean of its epochs' means, seconds; empty when no epoch was timed."""
        return tuple(map(statistics.fmean, zip(*self._epochs, strict=True)))
