"""The preflight of one rank, from the start of its process to the report.

Nothing heavy is imported before the process is on its cores and its watchdog runs.
"""

from __future__ import annotations

import datetime
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hvdtrain.errors import HvdtrainError, InputError, RunError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.runs.preflight import Preflight
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.preflight.notes import Notes, describe_silence
from hvdtrain.train.preflight.watchdog import start_watchdog
from hvdtrain.train.process.rank_environment import Launch, abort_job, host_name, read_launch
from hvdtrain.train.start import end_all, prepare_process

if TYPE_CHECKING:
    from hvdtrain.train.process.world import World


@dataclass(frozen=True)
class _Rank:
    """What the checks need to know of this rank."""

    options: TrainOptions
    launch: Launch
    cores: RankCores | None
    itex: str | None
    notes: Notes
    started: datetime.datetime
    clock_started: float


def run_preflight(options: TrainOptions, deadline_seconds: float) -> Preflight | None:
    """Check the machine together with the other ranks. Returns when all of them are done.

    Args:
        options: Options of the training that follows.
        deadline_seconds: After this time the process ends, with exit code 1.

    Returns:
        The report on rank 0, None on the others.

    Raises:
        InputError: No rank can make a plan of the options; said on rank 0.
        SystemExit: On the other ranks, with the exit code of rank 0 when that is not 0.
        RunError: The ranks cannot work together, or the report cannot be kept.
    """
    launch = read_launch(os.environ)
    host = host_name(os.environ, launch, socket.gethostname())
    notes = Notes(_notes_folder(options), launch.rank, host)
    notes.reach(0)
    start_watchdog(
        deadline_seconds,
        speak=lambda: _speak(notes, launch, deadline_seconds),
        abort=lambda: _abort(notes),
    )
    clock_started = time.monotonic()
    started = datetime.datetime.now(datetime.UTC)
    try:
        cores, itex = prepare_process(launch)
        return _check(_Rank(options, launch, cores, itex, notes, started, clock_started))
    except Exception as error:
        notes.remove()
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
    if world.is_first:
        rank.notes.remove()
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

    rank.notes.reach(1)
    before = thread_ids()
    if mpi_size() == 1 < rank.launch.ranks and rank.launch.rank > 0:
        # They all find out the same, and one of them says it.
        sys.exit(1)
    world = join_world(rank.launch)
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

    rank.notes.reach(2)
    options = rank.options
    attests = not options.no_attest
    answers = compare_ranks(options, world, rank.itex)
    rank.notes.reach(3)
    sums = check_allreduce(world)
    rank.notes.reach(4)
    cores = len(rank.cores.compute) if rank.cores else len(os.sched_getaffinity(0))
    speeds = measure_nodes(world, cores)
    rank.notes.reach(5)
    attestation = attest(world, rank.cores, horovod) if rank.cores else None
    rank.notes.reach(6)
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


def _notes_folder(options: TrainOptions) -> Path:
    """The same on every rank, before any of them can ask another."""
    name = options.run_id or job_name_of(os.environ) or "alone"
    return options.results / f".preflight-{name}"


def _speak(notes: Notes, launch: Launch, deadline_seconds: float) -> None:
    if not notes.claim_word():
        return
    silence = describe_silence(notes.read(), launch.ranks)
    error = RunError(
        f"the preflight did not end within {deadline_seconds:g} s: {silence}",
        "look at those nodes, and leave them out of the next job with sbatch's --exclude; "
        "--deadline gives a slow file system more time",
    )
    os.write(2, f"hvdtrain: {error}\n".encode())


def _abort(notes: Notes) -> None:
    notes.remove()
    abort_job(os.environ)
