"""Begins a run, or finds where a run that did not end can go on."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.changes import plan_changes
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.train.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    RankState,
    RunState,
    read_newest,
)
from hvdtrain.train.clock import ClockState
from hvdtrain.train.folder import RunFolder


def open_run(
    results: Path, run_id: str, plan: RunPlan, allow_change: bool | None
) -> tuple[RunFolder, Checkpoint | None]:
    """Make the folder of a run, or find where a run that did not end can go on. For rank 0.

    Args:
        results: Folder of all runs.
        run_id: Name of the run's folder.
        plan: Of the run.
        allow_change: Whether it may go on with another plan than it was started with; None: the
            command has no option for that.

    Returns:
        The folder, and the checkpoint to go on from; None: from the first step.

    Raises:
        InputError: The run has ended, or it was started with another plan.
        RunError: The folder cannot be made, or none of its checkpoints is whole.
    """
    folder = RunFolder(results / run_id)
    if not folder.holds_run:
        return RunFolder.create(results, run_id, plan), None
    folder.check_unfinished(allow_change)
    checkpoint, damaged = read_newest(folder.path / CHECKPOINTS_FOLDER)
    for line in damaged:
        print(f"hvdtrain: {line}", file=sys.stderr, flush=True)
    if damaged and checkpoint is None:
        raise RunError(
            f"no checkpoint of the run {run_id} is whole",
            f"to start again from the first step, remove {folder.path / CHECKPOINTS_FOLDER}",
        )
    before = checkpoint.state.plan if checkpoint else folder.read_plan()
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
    print(f"hvdtrain: {run_id} goes on from {where}", file=sys.stderr, flush=True)
    return folder, checkpoint


def _moved(checkpoint: Checkpoint, plan: RunPlan) -> Checkpoint:
    """The same state at its place in another plan: after as many epochs, and images of the next."""
    old = checkpoint.state
    epoch, within = divmod(old.step, old.plan.steps_per_epoch)
    images = within * old.plan.global_batch
    steps = min(-(-images // plan.global_batch), plan.steps_per_epoch)
    ranks, own = old.ranks, checkpoint.own
    if len(ranks) != plan.ranks:
        clock = ClockState(steps=ranks[0].clock.steps)
        ranks = (RankState(clock=clock, corrupt=_all_corrupt(old)),) * plan.ranks
        own = own.mean(axis=0, keepdims=True, dtype=np.float32)
    if old.plan.dataset != plan.dataset:
        ranks = tuple(msgspec.structs.replace(rank, corrupt=()) for rank in ranks)
    state = msgspec.structs.replace(
        old, plan=plan, step=epoch * plan.steps_per_epoch + steps, ranks=ranks
    )
    return Checkpoint(state, checkpoint.arrays, own)


def _all_corrupt(state: RunState) -> tuple[int, ...]:
    return tuple(sorted({example for rank in state.ranks for example in rank.corrupt}))
