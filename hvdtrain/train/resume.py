"""Takes a run to a checkpoint and back, on all ranks together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.changes import plan_changes
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.train.checkpoint import (
    CHECKPOINTS_FOLDER,
    Array,
    Checkpoint,
    RankState,
    RunState,
    read_newest,
    write_checkpoint,
)
from hvdtrain.train.clock import ClockState, StepClock
from hvdtrain.train.data.faults import CorruptLog
from hvdtrain.train.folder import RunFolder
from hvdtrain.train.loop import Journey
from hvdtrain.train.reduce import broadcast_state
from hvdtrain.train.world import World, gather, gather_rows, scatter_rows, share

Statistics = npt.NDArray[np.float32]


def open_run(
    results: Path, run_id: str, plan: RunPlan, allow_change: bool
) -> tuple[RunFolder, Checkpoint | None]:
    """Make the folder of a run, or find where a run that did not end can go on. For rank 0.

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
            "repeat the options it was started with; use another --run-id; or add --allow-change "
            "to go on with the new plan",
        )
    if changes and checkpoint:
        checkpoint = _moved(checkpoint, plan)
    state = checkpoint.state if checkpoint else None
    folder.reopen(plan, state.step if state else 0, len(state.epochs) if state else 0)
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
        ranks = tuple(
            RankState(clock=ClockState(steps=ranks[0].clock.steps), corrupt=_all_corrupt(old))
            for _ in range(plan.ranks)
        )
        own = own.mean(axis=0, keepdims=True, dtype=np.float32)
    state = msgspec.structs.replace(
        old, plan=plan, step=epoch * plan.steps_per_epoch + steps, ranks=ranks
    )
    return Checkpoint(state, checkpoint.arrays, own)


def _all_corrupt(state: RunState) -> tuple[int, ...]:
    return tuple(sorted({example for rank in state.ranks for example in rank.corrupt}))


@dataclass
class RunMemory:
    """What has to be kept of a run, on one rank, and where it goes.

    Attributes:
        folder: Of the run.
        plan: Of the run.
        world: All ranks.
        shared: Variables that are the same on every rank; the moving statistics may be among
            them, with the values of rank 0.
        own: Moving statistics: float32 variables that every rank has values of its own for.
        corrupt: Training images that this rank could not decode.
    """

    folder: RunFolder
    plan: RunPlan
    world: World
    shared: Sequence[tf.Variable]
    own: Sequence[tf.Variable]
    corrupt: CorruptLog

    def save(
        self, journey: Journey, *, started: str, run_seconds: float, resumed_at: Sequence[int]
    ) -> None:
        """Write a checkpoint. Collective.

        Raises:
            RunError: It cannot be written.
        """
        ranks = gather(
            RankState(clock=journey.clock.state, corrupt=tuple(sorted(self.corrupt.examples)))
        )
        rows = gather_rows(_flatten(self.own))
        if rows is None:
            return
        state = RunState(
            plan=self.plan,
            step=journey.step,
            epochs=tuple(journey.epochs),
            losses=tuple(journey.losses),
            epoch_seconds=journey.epoch_seconds,
            training_seconds=journey.seconds,
            run_seconds=run_seconds,
            started=started,
            resumed_at=tuple(resumed_at),
            names=tuple(variable.name for variable in self.shared),
            ranks=tuple(ranks),
        )
        own = rows[:1] if (rows == rows[:1]).all() else rows
        arrays: list[Array] = [variable.numpy() for variable in self.shared]
        write_checkpoint(self.folder.path / CHECKPOINTS_FOLDER, Checkpoint(state, arrays, own))

    def restore(self, checkpoint: Checkpoint | None) -> Journey:
        """Give every rank the state of a checkpoint that rank 0 has, or of rank 0. Collective.

        Returns:
            How far the run has come.

        Raises:
            RunError: The checkpoint is of another network or optimizer.
        """
        if checkpoint is not None:
            _assign_all(self.shared, checkpoint)
        broadcast_state(self.shared, self.world.ranks)
        state = share(checkpoint.state if checkpoint else None)
        if state is None:
            return Journey()
        values = _flatten(self.own)
        rows = None
        if checkpoint is not None:
            shape = (self.world.ranks, checkpoint.own.shape[1])
            rows = np.ascontiguousarray(np.broadcast_to(checkpoint.own, shape))
        _unflatten(self.own, scatter_rows(rows, len(values)))
        mine = state.ranks[self.world.rank]
        self.corrupt.recall(mine.corrupt)
        return Journey(
            clock=StepClock.restored(mine.clock),
            epochs=list(state.epochs),
            step=state.step,
            losses=list(state.losses),
            epoch_seconds=state.epoch_seconds,
            seconds=state.training_seconds,
        )


def _assign_all(variables: Sequence[tf.Variable], checkpoint: Checkpoint) -> None:
    """Set variables to the values of a checkpoint.

    Raises:
        RunError: They have other names, shapes or types.
    """
    found = [
        (name, array.shape, array.dtype)
        for name, array in zip(checkpoint.state.names, checkpoint.arrays, strict=True)
    ]
    current = [(v.name, tuple(v.shape), v.numpy().dtype) for v in variables]
    if found != current:
        different = {name for name, _, _ in set(found) ^ set(current)}
        named = f": {min(different)} differs" if different else ""
        raise RunError(
            f"the checkpoint is of another network or optimizer{named}",
            "go on with the model and the optimizer that the run was started with, or use "
            "another --run-id",
        )
    for variable, array in zip(variables, checkpoint.arrays, strict=True):
        variable.assign(array)


def _flatten(variables: Sequence[tf.Variable]) -> Statistics:
    """The values of all variables in one row: float32 [values]."""
    rows = [variable.numpy().ravel() for variable in variables]
    return np.concatenate(rows) if rows else np.empty(0, np.float32)


def _unflatten(variables: Sequence[tf.Variable], row: Statistics) -> None:
    """The inverse of `_flatten`."""
    first = 0
    for variable in variables:
        last = first + variable.shape.num_elements()
        variable.assign(row[first:last].reshape(variable.shape))
        first = last
