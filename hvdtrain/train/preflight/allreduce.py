"""The checked allreduce: right sums, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from hvdtrain.runs.preflight import AllreduceTime
from hvdtrain.runs.record import ReductionBackend
from hvdtrain.train.process.world import World, allgather, allgather_row, barrier

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
    return AllreduceResult(tuple(times), tuple(allgather(tuple(wrong))))


def _reduce(size: int, world: World) -> tuple[bool, float]:
    """Whether this rank's sum was right, and the mean seconds of the slowest rank."""
    numbers = np.arange(size // 4, dtype=np.float32) % _PATTERN
    # Whole numbers below 2^24, so that float32 holds every partial sum, in whatever order.
    values = tf.constant(numbers + np.float32(world.rank % _DISTINCT))
    offsets = sum(rank % _DISTINCT for rank in range(world.ranks))
    name = f"preflight_{size}"
    barrier()
    begin = time.perf_counter()
    total = hvd.allreduce(values, op=hvd.Sum, name=name)
    first = _slowest(time.perf_counter() - begin)
    right = np.array_equal(total.numpy(), numbers * world.ranks + np.float32(offsets))
    repetitions = min(MOST_REPETITIONS, int(MEASURED_SECONDS / first))
    if repetitions == 0:
        return right, first
    barrier()
    begin = time.perf_counter()
    for _ in range(repetitions):
        hvd.allreduce(values, op=hvd.Sum, name=name)
    return right, _slowest((time.perf_counter() - begin) / repetitions)


def _slowest(seconds: float) -> float:
    return float(allgather_row(np.array([seconds])).max())


# Source: Intel MPI Developer Reference, I_MPI_ADJUST Family.
_INTEL = {
    "1": "recursive doubling",
    "2": "Rabenseifner's",
    "3": "reduce and broadcast",
    "4": "topology-aware reduce and broadcast",
    "5": "binomial gather and scatter",
    "6": "topology-aware binomial gather and scatter",
    "7": "Shumilin's ring",
    "8": "ring",
    "9": "Knomial",
}
# Source: ompi_info --param coll tuned --level 9, Open MPI 4.1.
_OPENMPI = {
    "1": "basic linear",
    "2": "reduce and broadcast",
    "3": "recursive doubling",
    "4": "ring",
    "5": "segmented ring",
    "6": "Rabenseifner's",
}


def allreduce_algorithm(reduction: ReductionBackend, mpi: str, environ: Mapping[str, str]) -> str:
    """In words, with the setting that says so.

    Args:
        reduction: Horovod's back end: `MPI`, `CCL` or `GLOO`.
        mpi: The MPI library's own name and version.
        environ: Environment of a rank.
    """
    match reduction:
        case "none":
            return "none: one rank"
        case "GLOO":
            return "ring (Gloo has no other)"
        case "CCL":
            return _said(environ, "CCL_ALLREDUCE", {}, "oneCCL")
    if "Intel" in mpi:
        return _said(environ, "I_MPI_ADJUST_ALLREDUCE", _INTEL, "Intel MPI")
    if "Open MPI" in mpi:
        if environ.get("OMPI_MCA_coll_tuned_use_dynamic_rules", "0") in ("0", "false"):
            return "Open MPI's own choice"
        name = "OMPI_MCA_coll_tuned_allreduce_algorithm"
        return _said(environ, name, _OPENMPI, "Open MPI")
    return "the MPI library's own choice"


def _said(environ: Mapping[str, str], name: str, names: Mapping[str, str], library: str) -> str:
    value = environ.get(name, "")
    if not value:
        return f"{library}'s own choice"
    # Intel MPI takes `8:0-1024;2:...` as well: what stands there is said, not interpreted.
    return f"{names.get(value, value)} ({name}={value})"
