"""Puts this rank's threads on the cores that the core map gives it, and reads back where they are.

A thread inherits its mask from the thread that starts it, so the order of things decides: first
the process goes to its compute cores, then TensorFlow is imported and starts its pools there.
Horovod and oneCCL pin their own threads from their own variables, and the data pipeline starts its
threads on the cores it was given.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from hvdtrain.errors import RunError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.plan.machine.environment import (
    COMM_CPUS,
    COMPUTE_CPUS,
    DATA_CPUS,
    HOROVOD_CPUS,
    kmp_affinity,
)
from hvdtrain.units import format_cpu_list, parse_cpu_list

T = TypeVar("T")
TASKS = Path("/proc/self/task")


def read_pins(environ: Mapping[str, str], local_rank: int) -> RankCores | None:
    """This rank's entry in the core map of the environment; None when there is no map.

    Raises:
        RunError: The map has no entry for this local rank.
    """
    if COMPUTE_CPUS not in environ:
        return None
    return RankCores(
        compute=_entry(environ, COMPUTE_CPUS, local_rank),
        comm=_entry(environ, COMM_CPUS, local_rank, may_be_empty=True),
        horovod=_entry(environ, HOROVOD_CPUS, local_rank)[0],
        data=_entry(environ, DATA_CPUS, local_rank),
    )


def _entry(
    environ: Mapping[str, str], name: str, local_rank: int, may_be_empty: bool = False
) -> tuple[int, ...]:
    lists = environ.get(name, "").split(":")
    if local_rank >= len(lists) or not (lists[local_rank] or may_be_empty):
        raise RunError(
            f"{name}={environ.get(name, '')!r} has no entry for local rank {local_rank}",
            "the core map must be made for as many ranks per node as are started",
        )
    return parse_cpu_list(lists[local_rank], name)


def pin_process(pins: RankCores) -> None:
    """Put this process on its compute cores. Call before TensorFlow is imported.

    Raises:
        RunError: The node or the job does not allow those processors.
    """
    try:
        os.sched_setaffinity(0, pins.compute)
    except OSError as error:
        allowed = format_cpu_list(os.sched_getaffinity(0))
        raise RunError(
            f"the compute cores {format_cpu_list(pins.compute)} cannot be used "
            f"({error.strerror}): this process may run on {allowed}",
            "ask for whole nodes, or make the core map with: hvdtrain cores --detect",
        ) from None
    os.environ.setdefault("KMP_AFFINITY", kmp_affinity(pins.compute))


def thread_ids() -> frozenset[int]:
    """The threads of this process now."""
    return frozenset(int(entry) for entry in os.listdir(TASKS))


class LoaderThreads:
    """Watches which threads load data: those that appear with the first batch.

    Attributes:
        cpus: Where the kernel lets them run.
        alive: Those that were started and may still be there.
    """

    def __init__(self) -> None:
        self.cpus: frozenset[int] = frozenset()
        self.alive: frozenset[int] = frozenset()

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches."""
        before = thread_ids()
        for number, batch in enumerate(batches):
            if number == 0:
                started = thread_ids() - before
                self.cpus |= allowed_cpus(started)
                self.alive = (self.alive | started) & thread_ids()
            yield batch


def allowed_cpus(threads: frozenset[int]) -> frozenset[int]:
    """The processors on which the kernel lets any of these threads run; empty for no thread."""
    cpus: set[int] = set()
    for thread in threads:
        try:
            cpus |= os.sched_getaffinity(thread)
        except ProcessLookupError:
            continue
    return frozenset(cpus)


def count_masks(threads: frozenset[int]) -> dict[str, int]:
    """How many of the threads may run on each set of processors: `{"0-63": 70, "132": 1}`."""
    masks: Counter[str] = Counter()
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):
            masks[format_cpu_list(os.sched_getaffinity(thread))] += 1
    return dict(masks)
