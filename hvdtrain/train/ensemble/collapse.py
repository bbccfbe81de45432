"""`hvdtrain collapse` on one rank: a short run from each snapshot of another run."""

from __future__ import annotations

import datetime
import functools
import sys
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.fields import require_name
from hvdtrain.plan.method.collapse import make_collapse_plan
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import SnapshotOrigin
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.names import SNAPSHOTS_FOLDER
from hvdtrain.train.checkpoint.archive import (
    Checkpoint,
    DamagedError,
    find_snapshots,
    read_checkpoint,
)
from hvdtrain.train.data.dataset import discover
from hvdtrain.train.open_run import OpenRun, open_run
from hvdtrain.train.options import CollapseOptions
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.world import World, bcast_from_root
from hvdtrain.train.recorder import open_recorder
from hvdtrain.train.run import Run
from hvdtrain.train.state import RankState, first_state


def run_collapses(options: CollapseOptions, context: RankContext) -> None:
    """Collapse one snapshot, or all that are not yet, one after the other. Collective.

    Raises:
        InputError: The run, the snapshot or the data is not possible.
        RunError: A run failed. Other ranks may be waiting for this one: the caller must end them.
        Interrupted: A signal asked the run to end; the same command goes on.
    """
    for number in bcast_from_root(lambda: find_numbers(options), context.world):
        one = msgspec.structs.replace(options, snapshot=number)
        recorder = open_recorder(context, functools.partial(begin_collapse, one, context.world))
        with recorder.recording() as note:
            Run(recorder, options, note).train()


def find_numbers(options: CollapseOptions) -> list[int]:
    """The snapshots to collapse."""
    folder = options.run / SNAPSHOTS_FOLDER
    found = find_snapshots(folder)
    if not found:
        raise InputError(
            "RUN",
            str(options.run),
            "the folder of a run that has kept snapshots, as its recipe says",
            "train with a recipe that has them, such as collapsed-ensemble-120",
        )
    if options.snapshot is None:
        if options.run_id is not None:
            raise InputError("--run-id", options.run_id, "only with --snapshot: each has a folder")
        left = [number for number in found if not _is_completed(options.run, number)]
        for number in sorted(found.keys() - left):
            print(f"hvdtrain: snapshot {number} has been collapsed", file=sys.stderr, flush=True)
        return left
    if options.snapshot not in found:
        kept = ", ".join(map(str, found))
        raise InputError("--snapshot", options.snapshot, f"one that {folder} holds: {kept}")
    return [options.snapshot]


def _is_completed(run: Path, number: int) -> bool:
    return RunFolder(run.resolve().with_name(_collapse_id(run, number))).is_completed


def _collapse_id(run: Path, number: int) -> str:
    return f"{run.resolve().name}-collapse-{number}"


def begin_collapse(options: CollapseOptions, world: World) -> OpenRun:
    """The plan and folder of one collapse, and the state that it begins with or goes on from."""
    assert options.snapshot is not None
    snapshot = _read_snapshot(options.run, options.snapshot)
    plan = _make_plan(options, snapshot)
    if plan.ranks != world.ranks:
        raise RunError(
            f"{options.run} ran on {plan.ranks} ranks, and {world.ranks} were started",
            f"start hvdtrain collapse on {plan.ranks} ranks: mpirun -n {plan.ranks}",
        )
    run_id = options.run_id or _collapse_id(options.run, options.snapshot)
    require_name("--run-id", run_id)
    opened = open_run(options.run.resolve().parent, run_id, plan, allow_change=None)
    return opened._replace(checkpoint=opened.checkpoint or _first_state(snapshot, plan))


def _read_snapshot(run: Path, number: int) -> Checkpoint:
    path = find_snapshots(run / SNAPSHOTS_FOLDER)[number]
    try:
        return read_checkpoint(path)
    except DamagedError as error:
        raise RunError(
            f"the snapshot {path} is damaged: {error}",
            "collapse the others: hvdtrain collapse RUN --snapshot N",
        ) from None


def _make_plan(options: CollapseOptions, snapshot: Checkpoint) -> RunPlan:
    state = snapshot.state
    assert options.snapshot is not None and state.evaluation is not None
    origin = SnapshotOrigin(
        run_id=options.run.resolve().name,
        snapshot=options.snapshot,
        step=state.step,
        evaluation=state.evaluation,
    )
    plan = make_collapse_plan(state.plan, origin, options.epochs)
    if options.data is None:
        return plan
    # Whether they are the same data is found out when they are opened.
    source, _ = discover(options.data, plan.dataset.classes)
    return msgspec.structs.replace(plan, source=source)


def _first_state(snapshot: Checkpoint, plan: RunPlan) -> Checkpoint:
    """The snapshot as the beginning of a run: weights and slots are kept, times and results not."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    state = first_state(plan, started)
    state.names = snapshot.state.names
    state.ranks = tuple(RankState(corrupt=rank.corrupt) for rank in snapshot.state.ranks)
    return Checkpoint(state, snapshot.replicated, snapshot.per_rank)
