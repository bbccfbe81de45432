"""Takes a run to a checkpoint and back, on all ranks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, SNAPSHOTS_FOLDER
from hvdtrain.train.checkpoint.archive import (
    Array,
    Checkpoint,
    RankState,
    RunState,
    write_checkpoint,
    write_snapshot,
)
from hvdtrain.train.checkpoint.digest import replica_sha256, require_same_replicas
from hvdtrain.train.checkpoint.writer import CheckpointWriter
from hvdtrain.train.clock import StepClock
from hvdtrain.train.data.corrupt import CorruptLog
from hvdtrain.train.health.finite_check import require_finite
from hvdtrain.train.process.world import (
    World,
    allgather,
    bcast_from_root,
    gather_rows,
    scatter_rows,
)
from hvdtrain.train.reduction.mean import broadcast_state
from hvdtrain.train.state import Journey, Snapshot

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
        writer: Of rank 0; idle on the others.
    """

    folder: RunFolder
    plan: RunPlan
    world: World
    shared: Sequence[tf.Variable]
    own: Sequence[tf.Variable]
    corrupt: CorruptLog
    writer: CheckpointWriter

    def save(
        self,
        journey: Journey,
        *,
        started: str,
        run_seconds: float,
        resumed_at: Sequence[int],
        snapshot: Snapshot | None = None,
    ) -> None:
        """Begin to write a checkpoint or a snapshot. Collective.

        The values are copied now and written while the training goes on.

        Raises:
            DivergedError: A rank holds NaN or infinity.
            RunError: The checkpoint before cannot be written, or the ranks do not hold the same.
                Either they all say, and such a state is not written.
        """
        self.writer.finish()
        state_after = f"the state after step {journey.step}"
        require_finite([*self.shared, *self.own], state_after, self.world)
        arrays: list[Array] = [variable.numpy() for variable in self.shared]
        mine = RankState(clock=journey.clock.state, corrupt=tuple(sorted(self.corrupt.examples)))
        gathered = allgather((mine, self._replica_sha256(arrays)))
        require_same_replicas([digest for _, digest in gathered], self.world.hosts, journey.step)
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
            ranks=tuple(rank for rank, _ in gathered),
            evaluation=snapshot.evaluation if snapshot else None,
        )
        number = snapshot.number if snapshot else None
        self.writer.start(lambda: _write(self.folder.path, state, arrays, rows, number))

    def _replica_sha256(self, arrays: Sequence[Array]) -> bytes:
        """Of what must be the same on all ranks: all but the moving statistics."""
        own = {variable.ref() for variable in self.own}
        pairs = zip(self.shared, arrays, strict=True)
        replicas = [array for variable, array in pairs if variable.ref() not in own]
        return replica_sha256(replicas)

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
        state = bcast_from_root(lambda: checkpoint.state if checkpoint else None, self.world)
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


def _write(
    folder: Path, state: RunState, arrays: Sequence[Array], rows: Array, snapshot: int | None
) -> None:
    """Write a checkpoint, or the snapshot of a number, into a run's folder."""
    own = rows[:1] if (rows == rows[:1]).all() else rows
    saved = Checkpoint(state, arrays, own)
    if snapshot is None:
        write_checkpoint(folder / CHECKPOINTS_FOLDER, saved)
    else:
        write_snapshot(folder / SNAPSHOTS_FOLDER, snapshot, saved)


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
