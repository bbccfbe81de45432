"""The checked allreduce: right sums, and how long they take."""

from __future__ import annotations

import time
from dataclasses import dataclass

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from hvdtrain.plan.preflight import AllreduceTime
from hvdtrain.train.world import World, gather

SIZES = ((4 * 2**10, 10), (64 * 2**10, 10), (2**20, 10), (16 * 2**20, 4), (100 * 2**20, 2))
"""Bytes and repetitions. The gradients of ResNet-50 are 102 MB."""

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
    wrong, seconds = [], []
    for size, repetitions in SIZES:
        right, taken = _reduce(size, repetitions, world)
        seconds.append(taken)
        if not right:
            wrong.append(size)
    answers = gather((tuple(wrong), tuple(seconds)))
    times = tuple(
        AllreduceTime(bytes=size, seconds=max(taken[number] for _, taken in answers))
        for number, (size, _) in enumerate(SIZES)
    )
    return AllreduceResult(times, tuple(bad for bad, _ in answers))


def _reduce(size: int, repetitions: int, world: World) -> tuple[bool, float]:
    """Whether the sum was right, and the mean seconds. The first reduction is not timed."""
    numbers = np.arange(size // 4, dtype=np.float32) % _PATTERN
    # Whole numbers below 2^24, so that float32 holds every partial sum, in whatever order.
    values = tf.constant(numbers + np.float32(world.rank % _DISTINCT))
    name = f"preflight_{size}"
    total = hvd.allreduce(values, op=hvd.Sum, name=name).numpy()
    offsets = sum(rank % _DISTINCT for rank in range(world.ranks))
    right = np.array_equal(total, numbers * world.ranks + np.float32(offsets))
    begin = time.perf_counter()
    for _ in range(repetitions):
        hvd.allreduce(values, op=hvd.Sum, name=name)
    return right, (time.perf_counter() - begin) / repetitions
