"""What a rank makes of its place: on how many threads it loads images."""

from __future__ import annotations

import os

import pytest

from hvdtrain.plan.machine.core_map import RankCores
from tests.samples import sample_record, silent_watchdog

pytest.importorskip("horovod")
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.world import World

pytestmark = pytest.mark.tf


def context(hosts: tuple[str, ...], cores: RankCores | None = None) -> RankContext:
    world = World(rank=0, ranks=len(hosts), hosts=hosts, reduction="MPI")
    return RankContext(world, cores, frozenset(), sample_record().versions, None, silent_watchdog())


def test_a_core_map_says_on_what_images_are_loaded() -> None:
    cores = RankCores(compute=(0,), comm=(), horovod=0, data=(4, 5, 6))
    assert context(("n1", "n1"), cores).loader_threads == 3


@pytest.mark.parametrize(
    ("hosts", "threads"),
    [(("n1",), 8), (("n1", "n1", "n2"), 8), (("n1",) * 5, 3), (("n1",) * 40, 1)],
)
def test_without_one_the_ranks_share_their_node(
    hosts: tuple[str, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert context(hosts).loader_threads == threads
