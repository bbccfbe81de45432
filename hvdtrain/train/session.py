"""What one rank knows of its run, from the folder to the record."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hvdtrain.errors import HvdtrainError
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.runs.lock import RunLock
from hvdtrain.runs.record import RankPlacement, Record, Status
from hvdtrain.train.checkpoint.archive import Checkpoint, RunState
from hvdtrain.train.checkpoint.writer import CheckpointWriter
from hvdtrain.train.health.divergence import DivergedError
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.world import World, bcast_from_root
from hvdtrain.train.state import Journey


class Opened(NamedTuple):
    """What rank 0 found or made for a run.

    Attributes:
        plan: Of the run.
        folder: Of the run.
        checkpoint: The state to go on from, or to begin with; None: new weights.
        lock: The right to write to the folder.
    """

    plan: RunPlan
    folder: RunFolder
    checkpoint: Checkpoint | None
    lock: RunLock


@dataclass
class Session:
    """What is known of the run so far. Whatever happens, a record can be made of it."""

    context: RankContext
    plan: RunPlan
    folder: RunFolder
    started: str
    clock_started: float
    checkpoint: Checkpoint | None = None
    lock: RunLock | None = None
    writer: CheckpointWriter = field(default_factory=CheckpointWriter)
    resumed_at: tuple[int, ...] = ()
    journey: Journey = field(default_factory=Journey)
    placement: tuple[RankPlacement, ...] = ()
    allreduce_share: float | None = None
    rank_seconds: tuple[float, ...] = ()
    corrupt_images: int = 0
    weights_sha256: str | None = None

    @property
    def world(self) -> World:
        """All ranks."""
        return self.context.world

    def leave(self) -> None:
        """Let another job work on the run. Only rank 0 has a lock."""
        if self.lock is not None:
            self.lock.release()


def open_session(context: RankContext, begin: Callable[[], Opened]) -> Session:
    """Agree on the plan and the folder; `begin` makes or finds them on rank 0. Collective.

    Raises:
        InputError: As `begin` says.
        RunError: Likewise.
    """
    clock_started = time.monotonic()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    checkpoint: Checkpoint | None = None
    lock: RunLock | None = None

    def begin_first() -> tuple[RunPlan, RunFolder, RunState | None]:
        nonlocal checkpoint, lock
        plan, folder, checkpoint, lock = begin()
        return plan, folder, checkpoint.state if checkpoint else None

    plan, folder, state = bcast_from_root(begin_first, context.world)
    session = Session(context, plan, folder, started, clock_started, checkpoint, lock)
    # At its first step a run with an origin begins: it has a state, and is not continued.
    if state is not None and state.step > plan.first_step:
        session.started = state.started
        session.clock_started -= state.run_seconds
        session.resumed_at = (*state.resumed_at, state.step)
    return session


def verdict(error: BaseException, world: World) -> tuple[Status, str]:
    """How the run ended, and why, in the words of the rank that says it."""
    where = f"rank {world.rank} on {world.hosts[world.rank]}"
    match error:
        case DivergedError():
            return "diverged", error.message
        case HvdtrainError():
            return "failed", f"{where}: {error}"
        case _:
            return "failed", f"{where}: {type(error).__name__}: {error}"


def make_record(session: Session, status: Status, failure: str | None) -> Record:
    """The record of a run that has ended; `failure` says why it is not completed."""
    plan, world, clock = session.plan, session.world, session.journey.clock
    seconds_per_step = clock.mean_seconds
    return Record(
        run_id=session.folder.path.name,
        kind="synthetic" if plan.source.kind == "synthetic" else "measured",
        status=status,
        started=session.started,
        seconds=time.monotonic() - session.clock_started,
        plan=plan,
        versions=session.context.versions,
        git_commit=session.context.git_commit,
        hosts=tuple(dict.fromkeys(world.hosts)),
        slurm_job_id=job_name_of(os.environ),
        reduction=world.reduction,
        placement=session.placement,
        steps=clock.steps,
        images_per_second=plan.global_batch / seconds_per_step if seconds_per_step else None,
        seconds_per_step=seconds_per_step,
        allreduce_share=session.allreduce_share,
        epochs=tuple(session.journey.epochs),
        rank_seconds=session.rank_seconds,
        corrupt_images=session.corrupt_images,
        resumed_at=session.resumed_at,
        weights_sha256=session.weights_sha256,
        failure=failure,
    )
