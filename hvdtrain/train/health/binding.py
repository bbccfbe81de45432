"""Every rank reads back where its threads may run, and all of them compare it with the plan.

A setting that a library ignores, or that was written for other nodes, costs half the speed and
fails nothing. So the kernel is asked, when all threads exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.runs.preflight import Fault
from hvdtrain.runs.record import RankPlacement
from hvdtrain.train.health.binding_rules import (
    RankUse,
    ThreadMasks,
    find_shared,
    judge_settings,
    sort_threads,
)
from hvdtrain.train.process.pinning import LoaderThreads, allowed_cpus, count_masks, thread_ids
from hvdtrain.train.process.world import World, allgather
from hvdtrain.units import format_cpu_list, parse_cpu_list

CPUS = Path("/sys/devices/system/cpu")
FIX = (
    "render the job anew, or compare its settings with: hvdtrain cores --detect --format sh; "
    "--no-attest goes on all the same"
)
_SHOWN = 4


@dataclass(frozen=True)
class Attestation:
    """What the ranks found.

    Attributes:
        placement: Processors on which the threads of every rank may run.
        faults: The same on every rank; empty when all is as planned.
    """

    placement: tuple[RankPlacement, ...]
    faults: tuple[Fault, ...]


def attest(
    world: World,
    cores: RankCores,
    horovod: frozenset[int],
    loading: frozenset[int] = frozenset(),
) -> Attestation:
    """Compare the threads of all ranks with the core map. Collective.

    Args:
        world: All ranks, with their hosts.
        cores: This rank's entry in the core map.
        horovod: Threads that Horovod started when it began.
        loading: Processors on which data was loaded, where that is known.
    """
    host = world.hosts[world.rank]
    masks = ThreadMasks(all=count_masks(thread_ids()), horovod=tuple(count_masks(horovod)))
    use = sort_threads(cores, masks)
    placement = RankPlacement(
        rank=world.rank,
        host=host,
        compute=format_cpu_list(use.compute),
        communication=format_cpu_list(use.communication),
        data=format_cpu_list(loading or use.data),
        horovod=format_cpu_list(allowed_cpus(horovod)),
    )
    ignored = judge_settings(cores, masks, os.environ, world.reduction == "CCL")
    working = RankUse(rank=world.rank, host=host, cores=_cores(use.compute | use.communication))
    answers = allgather((placement, ignored, working))
    said = [
        f"rank {place.rank} on {place.host}: {text}"
        for place, texts, _ in answers
        for text in texts
    ]
    shared = find_shared([working for _, _, working in answers])
    return Attestation(tuple(place for place, _, _ in answers), _faults([*shared, *said]))


def gather_placement(
    world: World,
    cores: RankCores | None,
    communication: frozenset[int],
    loaders: LoaderThreads,
) -> tuple[RankPlacement, ...]:
    """Where every rank's threads may run, by the kernel's word. Collective.

    Args:
        world: All ranks.
        cores: This rank's entry in the core map; None: there is no map.
        communication: Threads that MPI and Horovod have started.
        loaders: Those that have loaded data.
    """
    if cores is not None:
        return attest(world, cores, communication, loaders.cpus).placement
    compute = thread_ids() - communication - loaders.alive
    own = RankPlacement(
        rank=world.rank,
        host=world.hosts[world.rank],
        compute=format_cpu_list(allowed_cpus(compute)),
        communication=format_cpu_list(allowed_cpus(communication)),
        data=format_cpu_list(loaders.cpus),
    )
    return tuple(allgather(own))


def require_attested(attestation: Attestation) -> None:
    """Raise unless all is as planned.

    Raises:
        RunError: Something is not; on every rank alike.
    """
    if attestation.faults:
        (fault,) = attestation.faults
        raise RunError(fault.text, fault.fix)


def _faults(texts: list[str]) -> tuple[Fault, ...]:
    if not texts:
        return ()
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    text = "; ".join([*texts[:_SHOWN], *more])
    return (Fault(check="affinity", text=text, fix=FIX),)


def _cores(cpus: Iterable[int]) -> frozenset[int]:
    """The first hardware threads of the cores that processors belong to."""
    return frozenset(_first_sibling(cpu) for cpu in cpus)


def _first_sibling(cpu: int) -> int:
    try:
        text = (CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        return min(parse_cpu_list(text))
    except (OSError, InputError, ValueError):
        # Some containers hide it: then each processor counts as a core.
        return cpu
