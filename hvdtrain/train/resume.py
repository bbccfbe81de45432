"""Takes a run to a checkpoint and back, on all ranks together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.train.checkpoint import (
    CHECKPOINTS_FOLDER,
    SNAPSHOTS_FOLDER,
    Array,
    Checkpoint,
    RankState,
    RunState,
    write_checkpoint,
    write_snapshot,
)
from hvdtrain.train.clock import StepClock
from hvdtrain.train.data.faults import CorruptLog
from hvdtrain.train.digest import weights_sha256
from hvdtrain.train.folder import RunFolder
from hvdtrain.train.loop import Journey, Snapshot
from hvdtrain.train.reduce import broadcast_state
from hvdtrain.train.world import World, from_first, gather, gather_equal, gather_rows, scatter_rows

Statistics = npt.NDArray[np.float32]


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
        self,
        journey: Journey,
        *,
        started: str,
        run_seconds: float,
        resumed_at: Sequence[int],
        snapshot: Snapshot | None = None,
    ) -> None:
        """Write a checkpoint, or a snapshot, unless a weight is NaN or infinite. Collective.

        Raises:
            RunError: It cannot be written, or a rank has other weights than rank 0.
        """
        gather_equal(f"weights after step {journey.step}", self._digest(), self.world)
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
            evaluation=snapshot.evaluation if snapshot else None,
        )
        arrays: list[Array] = [variable.numpy() for variable in self.shared]
        if not all(np.isfinite(array).all() for array in [*arrays, rows]):
            # The loss of the next step will say so. What can be continued must stay.
            print(f"hvdtrain: no checkpoint at step {journey.step}: NaN or Inf", file=sys.stderr)
            return
        own = rows[:1] if (rows == rows[:1]).all() else rows
        saved = Checkpoint(state, arrays, own)
        if snapshot is None:
            write_checkpoint(self.folder.path / CHECKPOINTS_FOLDER, saved)
        else:
            write_snapshot(self.folder.path / SNAPSHOTS_FOLDER, snapshot.number, saved)

    def _digest(self) -> str:
        """Of the weights and slots that must be the same on every rank."""
        own = {id(variable) for variable in self.own}
        replicas = [variable for variable in self.shared if id(variable) not in own]
        if not all(np.isfinite(variable.numpy()).all() for variable in replicas):
            # Two numbers that are none need not have the same bytes.
            return "not finite"
        return weights_sha256(replicas)

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
        state = from_first(lambda: checkpoint.state if checkpoint else None, self.world)
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
