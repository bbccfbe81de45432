"""The checked allreduce: right sums, and how long they take."""

from __future__ import annotations

import time
from dataclasses import dataclass

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from hvdtrain.plan.preflight import AllreduceTime
from hvdtrain.train.world import World, gather, wait_for_all

SIZES = (4 * 2**10, 64 * 2**10, 2**20, 16 * 2**20, 100 * 2**20)
"""Bytes. The gradients of ResNet-50 are 102 MB."""

MEASURED_SECONDS = 0.4
"""Of each size, after the first reduction. One that takes longer is not repeated."""

MOST_REPETITIONS = 20

_PATTERN = 7
_DISTINCT = 1024


@dataclass(frozen=True)
class AllreduceResult:
    """What all ranks found.

    Attributes:
        times: For each size; empty for one rank.
        wrong: Of every rank: the sizes in bytes whose sum was wrong.
    """

    times: tuple[AllreduceTime, ...]
    wrong: tuple[tuple[int, ...], ...]


def check_allreduce(world: World) -> AllreduceResult:
    """Reduce each size through Horovod, as the training does. Collective."""
    if world.ranks == 1:
        return AllreduceResult((), ((),))
    wrong, times = [], []
    for size in SIZES:
        right, seconds = _reduce(size, world)
        times.append(AllreduceTime(bytes=size, seconds=seconds))
        if not right:
            wrong.append(size)
    return AllreduceResult(tuple(times), tuple(gather(tuple(wrong))))


def _reduce(size: int, world: World) -> tuple[bool, float]:
    """Whether this rank's sum was right, and the mean seconds of the slowest rank."""
    numbers = np.arange(size // 4, dtype=np.float32) % _PATTERN
    # Whole numbers below 2^24, so that float32 holds every partial sum, in whatever order.
    values = tf.constant(numbers + np.float32(world.rank % _DISTINCT))
    offsets = sum(rank % _DISTINCT for rank in range(world.ranks))
    name = f"preflight_{size}"
    wait_for_all()
    begin = time.perf_counter()
    total = hvd.allreduce(values, op=hvd.Sum, name=name)
    first = max(gather(time.perf_counter() - begin))
    right = np.array_equal(total.numpy(), numbers * world.ranks + np.float32(offsets))
    repetitions = min(MOST_REPETITIONS, int(MEASURED_SECONDS / first))
    if repetitions == 0:
        return right, first
    wait_for_all()
    begin = time.perf_counter()
    for _ in range(repetitions):
        hvd.allreduce(values, op=hvd.Sum, name=name)
    return right, max(gather((time.perf_counter() - begin) / repetitions))
