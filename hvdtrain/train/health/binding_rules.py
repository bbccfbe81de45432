"""Compares where a rank's threads may run, by the kernel's word, with the core map of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from hvdtrain.names import name_ranks
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.units import format_cpu_list, parse_cpu_list

THREAD_COUNTS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""Must be the number of the rank's compute cores: one family for each pool of TensorFlow."""


class ThreadMasks(msgspec.Struct, frozen=True, kw_only=True):
    """The threads of a rank, read back from the kernel.

    Attributes:
        all: Number of threads for each set of allowed processors, as `0-63`.
        horovod: The sets of the threads that came with Horovod: its own, and in some versions
            those of oneCCL; empty: there are none.
    """

    all: dict[str, int]
    horovod: tuple[str, ...]


class RankUse(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rank computes and communicates.

    Attributes:
        rank: Number of the rank, from 0.
        host: Host name of the rank's node.
        cores: First hardware threads of the cores.
    """

    rank: int
    host: str
    cores: frozenset[int]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """The processors of a rank's threads, by what they do.

    Attributes:
        compute: Of the threads inside its planned compute cores.
        communication: Of Horovod's, oneCCL's and all others outside of data loading.
        data: Of the threads that only load data.
    """

    compute: frozenset[int]
    communication: frozenset[int]
    data: frozenset[int]


def sort_threads(planned: RankCores, masks: ThreadMasks) -> Use:
    """What the threads are for, by where they may run: a thread does not say what it is."""
    sets = [frozenset(parse_cpu_list(text)) for text in masks.all]
    compute, data = frozenset(planned.compute), frozenset(planned.data)
    communication = {*planned.comm, planned.horovod}
    computing = [cpus for cpus in sets if cpus <= compute]
    loading = [
        cpus for cpus in sets if cpus <= data and not cpus <= compute and not cpus <= communication
    ]
    others = [cpus for cpus in sets if cpus not in computing and cpus not in loading]
    horovod = [parse_cpu_list(text) for text in masks.horovod]
    return Use(
        compute=frozenset().union(*computing),
        communication=frozenset().union(*horovod, *others),
        data=frozenset().union(*loading),
    )


def judge_settings(
    planned: RankCores, masks: ThreadMasks, environ: Mapping[str, str], uses_ccl: bool
) -> tuple[str, ...]:
    """Settings that were ignored or contradict the map; empty: all is as planned.

    Args:
        planned: The rank's entry in the core map.
        masks: Where its threads may run, once all of them exist.
        environ: Environment of the rank.
        uses_ccl: Whether oneCCL reduces, with a thread for each communication core.
    """
    return (
        *_strays(planned, masks),
        *_missing_pins(planned, masks, uses_ccl),
        *_wrong_counts(planned, masks, environ),
    )


def find_shared(uses: Sequence[RankUse]) -> tuple[str, ...]:
    """Cores on which several ranks of a node compute or communicate."""
    return tuple(
        f"{name_ranks(ranks)} share core{'s' if len(cores) > 1 else ''} "
        f"{format_cpu_list(cores)} on {host}"
        for (host, ranks), cores in sorted(_shared_cores(uses).items())
    )


def _shared_cores(uses: Sequence[RankUse]) -> dict[tuple[str, tuple[int, ...]], list[int]]:
    ranks: dict[tuple[str, int], list[int]] = {}
    for use in uses:
        for core in use.cores:
            ranks.setdefault((use.host, core), []).append(use.rank)
    shared: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for (host, core), sharers in ranks.items():
        if len(sharers) > 1:
            shared.setdefault((host, tuple(sorted(sharers))), []).append(core)
    return shared


def _strays(planned: RankCores, masks: ThreadMasks) -> Iterator[str]:
    allowed = (
        frozenset(planned.compute),
        frozenset((*planned.comm, planned.horovod)),
        frozenset(planned.data),
    )
    for text, count in masks.all.items():
        if not any(frozenset(parse_cpu_list(text)) <= cpus for cpus in allowed):
            yield (
                f"{count} thread{'s' if count > 1 else ''} may run on {text}: the plan has compute "
                f"{format_cpu_list(planned.compute)}, communication "
                f"{format_cpu_list((*planned.comm, planned.horovod))}, data "
                f"{format_cpu_list(planned.data)}"
            )


def _missing_pins(planned: RankCores, masks: ThreadMasks, uses_ccl: bool) -> Iterator[str]:
    if str(planned.horovod) not in masks.horovod:
        where = " and ".join(masks.horovod) or "nowhere"
        yield (
            f"Horovod's thread may run on {where}, the plan has {planned.horovod}: "
            "HOROVOD_THREAD_AFFINITY was ignored or is another one"
        )
    empty = [cpu for cpu in planned.comm if str(cpu) not in masks.all]
    if uses_ccl and empty:
        yield (
            f"no thread of oneCCL is pinned to {format_cpu_list(empty)}: CCL_WORKER_AFFINITY or "
            "CCL_WORKER_COUNT was ignored or is another one"
        )


def _wrong_counts(
    planned: RankCores, masks: ThreadMasks, environ: Mapping[str, str]
) -> Iterator[str]:
    wanted = len(planned.compute)
    for name in THREAD_COUNTS:
        if environ.get(name) != str(wanted):
            yield f"{name} is {environ.get(name, 'not set')}, the plan has {wanted} compute cores"
    compute = frozenset(planned.compute)
    found = sum(
        count for text, count in masks.all.items() if frozenset(parse_cpu_list(text)) <= compute
    )
    if found < wanted:
        yield f"{found} threads are on the {wanted} compute cores {format_cpu_list(compute)}"
