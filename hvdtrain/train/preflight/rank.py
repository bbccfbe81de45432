"""The preflight of one rank, from the start of its process to the report.

Nothing heavy is imported before the process is on its cores and its watchdog runs.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvdtrain.errors import HvdtrainError, InputError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.runs.preflight import Preflight
from hvdtrain.train.health.watchdog import Watchdog
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.process.rank_environment import Launch, read_launch
from hvdtrain.train.start import end_all, load_stack, watch_rank

if TYPE_CHECKING:
    from hvdtrain.train.process.world import World

DEADLINE_SECONDS = 55.0
"""How long the checks may take, from when the last rank has loaded TensorFlow."""

_LATE = (
    "this is no verdict on the nodes: the job may start again; look at those that are named; "
    "--deadline gives a slow machine more time"
)


@dataclass(frozen=True)
class _Rank:
    """What the checks need to know of this rank."""

    options: TrainOptions
    launch: Launch
    cores: RankCores | None
    itex: str | None
    watchdog: Watchdog
    started: datetime.datetime
    clock_started: float


def run_preflight(options: TrainOptions, deadline_seconds: float | None) -> Preflight | None:
    """Check the machine together with the other ranks. Returns when all of them are done.

    Args:
        options: Options of the training that follows.
        deadline_seconds: So long after the last rank has loaded TensorFlow all ranks end, with
            exit code 1; None: `DEADLINE_SECONDS`, and a tenth of a second more for each rank.

    Returns:
        The report on rank 0, None on the others.

    Raises:
        InputError: No rank can make a plan of the options; said on rank 0.
        SystemExit: On the other ranks, with the exit code of rank 0 when that is not 0.
        RunError: The ranks cannot work together, or the report cannot be kept.
    """
    launch = read_launch(os.environ)
    if deadline_seconds is None:
        deadline_seconds = DEADLINE_SECONDS + launch.ranks / 10
    folder = options.results / options.run_id if options.run_id else None
    watchdog = watch_rank(launch, options.results, folder, deadline_seconds, "the preflight", _LATE)
    clock_started = time.monotonic()
    started = datetime.datetime.now(datetime.UTC)
    try:
        cores, itex = load_stack(launch, watchdog, deadline_seconds)
        return _check(_Rank(options, launch, cores, itex, watchdog, started, clock_started))
    except Exception as error:
        alone = launch.ranks == 1 and isinstance(error, HvdtrainError)
        # All ranks have found the same wrong input, and left the world together.
        if alone or isinstance(error, InputError):
            raise
        end_all(error, launch)
    return None


def _check(rank: _Rank) -> Preflight | None:
    from hvdtrain.train.process.world import bcast_from_root, leave_world

    world, horovod = _join(rank)
    report = _make_report(rank, world, horovod)
    folder = rank.options.results / rank.options.run_id if rank.options.run_id else None

    def keep() -> None:
        if folder is not None:
            from hvdtrain.runs.folder import RunFolder

            RunFolder(folder).keep_preflight(report)

    bcast_from_root(keep, world)
    leave_world()
    rank.watchdog.rest()
    if world.is_first:
        return report
    if report.faults:
        sys.exit(1)
    return None


def _join(rank: _Rank) -> tuple[World, frozenset[int]]:
    """All ranks together, and the threads that Horovod has started.

    Raises:
        RunError: The launcher, MPI and Horovod do not see the same ranks.
        SystemExit: The same, on all ranks but the first, when each of them is alone.
    """
    from hvdtrain.train.process.pinning import thread_ids
    from hvdtrain.train.process.world import join_world, mpi_size

    before = thread_ids()
    if mpi_size() == 1 < rank.launch.ranks and rank.launch.rank > 0:
        # They all find out the same, and one of them says it.
        sys.exit(1)
    rank.watchdog.go_on("starting Horovod")
    world = join_world(rank.launch)
    rank.watchdog.joined(world.hosts)
    return world, thread_ids() - before


def _make_report(rank: _Rank, world: World, horovod: frozenset[int]) -> Preflight:
    """The same on every rank. Collective.

    Raises:
        InputError: No rank can make a plan.
        SystemExit: The same, on all ranks but the first.
    """
    from hvdtrain.train.health.binding import attest
    from hvdtrain.train.preflight.allreduce import allreduce_algorithm, check_allreduce
    from hvdtrain.train.preflight.sameness import compare_ranks
    from hvdtrain.train.preflight.speed import measure_nodes
    from hvdtrain.train.preflight.verdict import (
        exclude_option,
        find_slow_nodes,
        judge_sameness,
        judge_shape,
        judge_sums,
    )
    from hvdtrain.train.process.world import library_version

    rank.watchdog.go_on("making the plan")
    options = rank.options
    attests = options.attest
    answers = compare_ranks(options, world, rank.itex)
    rank.watchdog.go_on("the allreduce")
    sums = check_allreduce(world)
    rank.watchdog.go_on("measuring the speed")
    cores = len(rank.cores.compute) if rank.cores else len(os.sched_getaffinity(0))
    speeds = measure_nodes(world, cores)
    rank.watchdog.go_on("reading the threads back")
    attestation = attest(world, rank.cores, horovod) if rank.cores else None
    rank.watchdog.go_on("the verdict")
    faults = (
        *judge_shape(world.hosts, options.nodes, options.ranks_per_node),
        *judge_sameness(answers),
        *judge_sums(sums.wrong, world.hosts),
        *(attestation.faults if attestation and attests else ()),
    )
    slow = find_slow_nodes(speeds)
    return Preflight(
        started=rank.started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - rank.clock_started,
        launcher=rank.launch.launcher,
        ranks=world.ranks,
        hosts=tuple(dict.fromkeys(world.hosts)),
        versions=answers[0].versions,
        plan_sha256=answers[0].plan_sha256,
        fingerprint=answers[0].fingerprint,
        reduction=world.reduction,
        algorithm=allreduce_algorithm(world.reduction, library_version(), os.environ),
        allreduce=sums.times,
        nodes=speeds,
        slow=slow,
        placement=attestation.placement if attestation else (),
        attested=attestation is not None and attests,
        faults=faults,
        exclude=exclude_option(
            [*(host for fault in faults for host in fault.hosts), *(node.host for node in slow)]
        ),
    )
