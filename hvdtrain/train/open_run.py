"""Begins a run, or finds where a run that did not end can go on."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.method.dataset import DatasetInfo, DataSource
from hvdtrain.plan.method.recipe import default_recipe, load_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.lock import RunLock, take_lock
from hvdtrain.runs.names import CHECKPOINTS_FOLDER
from hvdtrain.runs.plan_diff import plan_changes
from hvdtrain.train.checkpoint.archive import Checkpoint, read_newest
from hvdtrain.train.data.dataset import discover
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.state import RankState, StepTimes, TrainingState

if TYPE_CHECKING:
    from hvdtrain.train.process.world import World


class OpenRun(NamedTuple):
    """What rank 0 has found or made for a run.

    Attributes:
        plan: What the run is to do.
        folder: Where its files stand.
        checkpoint: The state to go on from, or to begin with; None: new weights.
        lock: The right to write to the folder, to be released when the run is done.
    """

    plan: RunPlan
    folder: RunFolder
    checkpoint: Checkpoint | None
    lock: RunLock


def open_run(results: Path, run_id: str, plan: RunPlan, allow_change: bool | None) -> OpenRun:
    """Make the folder of a run, or find where a run that did not end can go on. For rank 0.

    Args:
        results: Folder of all runs.
        run_id: Name of the run's folder.
        plan: What the run is to do.
        allow_change: Whether it may go on with another plan than it was started with; None: the
            command has no option for that.

    Raises:
        InputError: The run has ended, was started with another plan, or another job works on it.
        RunError: The folder cannot be made, or none of its checkpoints is whole.
    """
    lock = take_lock(results / run_id)
    try:
        return _open_locked(lock, results, run_id, plan, allow_change)
    except BaseException:
        lock.release()
        raise


def _open_locked(
    lock: RunLock, results: Path, run_id: str, plan: RunPlan, allow_change: bool | None
) -> OpenRun:
    folder = RunFolder(results / run_id)
    if not folder.holds_run:
        return OpenRun(plan, RunFolder.create(results, run_id, plan), None, lock)
    folder.check_unfinished(allow_change)
    checkpoint, damaged = read_newest(folder.path / CHECKPOINTS_FOLDER)
    for line in damaged:
        _say(line)
    if damaged and checkpoint is None:
        raise RunError(
            f"no checkpoint of the run {run_id} is whole",
            f"to start again from the first step, remove {folder.path / CHECKPOINTS_FOLDER}",
        )
    before = checkpoint.state.plan if checkpoint else folder.read_plan()
    plan = _counted_as(before, plan)
    changes = plan_changes(before, plan)
    if changes and not allow_change:
        raise InputError(
            "--run-id",
            run_id,
            "this run did not end, and was started with another plan:\n  " + "\n  ".join(changes),
            "repeat the options it was started with"
            + ("" if allow_change is None else "; add --allow-change to go on with the new plan")
            + "; or use another --run-id",
        )
    if changes and checkpoint:
        checkpoint = _moved(checkpoint, plan)
    state = checkpoint.state if checkpoint else None
    epochs = plan.first_epoch + (len(state.epochs) if state else 0)
    folder.reopen(plan, state.step if state else plan.first_step, epochs)
    where = f"step {state.step}" if state else "the first step: there is no checkpoint yet"
    _say(f"{run_id} goes on from {where}")
    return OpenRun(plan, folder, checkpoint, lock)


def _counted_as(before: RunPlan, plan: RunPlan) -> RunPlan:
    """The plan with the epochs of the run that goes on, where an earlier version began it.

    That left out the rest of each epoch, and evaluated after every one.
    """
    if before.evaluate_epochs is None:
        plan = msgspec.structs.replace(plan, evaluate_epochs=None)
    whole = before.dataset.train_images // before.global_batch
    counts_whole = before.steps_per_epoch == whole
    same = (before.dataset.train_images, before.global_batch) == (
        plan.dataset.train_images,
        plan.global_batch,
    )
    if not (counts_whole and same):
        return plan
    return msgspec.structs.replace(plan, steps_per_epoch=before.steps_per_epoch)


def _moved(checkpoint: Checkpoint, plan: RunPlan) -> Checkpoint:
    """The same state at its place in another plan: after as many epochs, and images of the next."""
    old = checkpoint.state
    epoch = old.plan.epochs_ended(old.step)
    within = max(0, old.step * old.plan.global_batch - epoch * old.plan.epoch_images)
    step = -(-(epoch * plan.epoch_images + within) // plan.global_batch)
    step = min(max(plan.epoch_end(epoch), step), plan.epoch_end(epoch + 1))
    ranks, per_rank = old.ranks, checkpoint.per_rank
    if len(ranks) != plan.ranks:
        corrupt, steps_made = _all_corrupt(old), ranks[0].times.steps
        ranks = tuple(
            RankState(times=StepTimes(steps=steps_made), corrupt=corrupt) for _ in range(plan.ranks)
        )
        per_rank = per_rank.mean(axis=0, keepdims=True, dtype=np.float32)
    if old.plan.dataset != plan.dataset:
        ranks = tuple(msgspec.structs.replace(rank, corrupt=()) for rank in ranks)
    state = msgspec.structs.replace(old, plan=plan, step=step, ranks=ranks)
    return Checkpoint(state, checkpoint.replicated, per_rank)


def _all_corrupt(state: TrainingState) -> tuple[int, ...]:
    return tuple(sorted({example for rank in state.ranks for example in rank.corrupt}))


SYNTHETIC_VALIDATION_STEPS = 2
"""Made-up images teach nothing, so their evaluation only has to exercise the code."""


def make_run_plan(options: TrainOptions, world: World) -> RunPlan:
    """The plan of the run, after a look at the data.

    Raises:
        InputError: The recipe, the data, the model or the batch is not possible.
    """
    source, dataset = _look_at_data(options, world)
    nodes = options.nodes or world.nodes
    ranks_per_node = options.ranks_per_node or max(1, world.ranks // nodes)
    global_batch = nodes * ranks_per_node * options.rank_batch * options.accumulate
    return make_plan(
        options,
        system=options.system,
        nodes=nodes,
        ranks_per_node=ranks_per_node,
        rank_batch=options.rank_batch,
        recipe=load_recipe(options.recipe or default_recipe(global_batch)),
        source=source,
        dataset=dataset,
    )


def make_run_id(plan: RunPlan, started: datetime.datetime) -> str:
    """A folder name that sorts by time: `20260314-150926-resnet50-4n-b128`."""
    return f"{started:%Y%m%d-%H%M%S}-{plan.model.name}-{plan.nodes}n-b{plan.global_batch}"


def _say(text: str) -> None:
    print(f"hvdtrain: {text}", file=sys.stderr, flush=True)


def _look_at_data(options: TrainOptions, world: World) -> tuple[DataSource, DatasetInfo]:
    if options.data is not None:
        # Every rank looks in a preflight, and one of them tells.
        return discover(options.data, options.classes, _say if world.is_first else lambda _: None)
    dataset = DatasetInfo(
        train_images=options.images_per_epoch,
        validation_images=SYNTHETIC_VALIDATION_STEPS * options.rank_batch * world.ranks,
        classes=options.unseen_classes,
    )
    return DataSource(), dataset
