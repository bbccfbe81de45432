"""What is known of a run while it goes on, so that whatever happens a record can be made of it."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hvdtrain.errors import HvdtrainError, RunError
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.runs.lock import RunLock
from hvdtrain.runs.names import CHECKPOINTS_FOLDER
from hvdtrain.runs.record import RankPlacement, Record, Status
from hvdtrain.train.checkpoint.archive import Checkpoint, remove_checkpoints
from hvdtrain.train.checkpoint.interrupt import Interrupted, SignalNote, signals_noted
from hvdtrain.train.health.binding import gather_placement
from hvdtrain.train.health.divergence import DivergedError
from hvdtrain.train.health.watchdog import FIRST_FACTOR
from hvdtrain.train.metrics import WRITE_SECONDS
from hvdtrain.train.open_run import OpenRun
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.pinning import LoaderThreads
from hvdtrain.train.process.world import World, allgather, bcast_from_root
from hvdtrain.train.state import StepTimes, TrainingState, first_state


@dataclass
class RunRecorder:
    """One rank's view of a run, from its folder to its record. From `open_recorder`.

    Attributes:
        context: This rank among all.
        folder: Where its files stand.
        state: How far the run has come.
        lock: The right to write to the folder, on rank 0.
        begin: When the run began, by the clock of `time.monotonic`; pauses are left out.
        checkpoint: On rank 0 what the run goes on from, until it has done so.
        placement: Where the threads of every rank were.
        allreduce_share: Share of an update that waited for the reduction, mean over the ranks.
        rank_seconds: Seconds of an update of every rank without its wait for the reduction.
        corrupt_images: Training images that could not be decoded.
        weights_sha256: Of the final weights; None: they are not there yet.
    """

    context: RankContext
    folder: RunFolder
    state: TrainingState
    lock: RunLock | None
    begin: float
    checkpoint: Checkpoint | None
    placement: tuple[RankPlacement, ...] = ()
    allreduce_share: float | None = None
    rank_seconds: tuple[float, ...] = ()
    corrupt_images: int = 0
    weights_sha256: str | None = None

    @property
    def times(self) -> StepTimes:
        """Of this rank's updates."""
        return self.state.ranks[self.context.world.rank].times

    @property
    def seconds(self) -> float:
        """Wall time of the run until now."""
        return time.monotonic() - self.begin

    def gather(self, loaders: LoaderThreads, rank_seconds: tuple[float, ...]) -> None:
        """Ask all ranks for what the record says of them, after the last update. Collective.

        The record itself asks nobody: it is made of a run that failed, too.

        Args:
            loaders: The threads that load this rank's data.
            rank_seconds: Seconds of an update of every rank without its wait for the reduction.
        """
        context = self.context
        self.rank_seconds = rank_seconds
        self.placement = gather_placement(
            context.world, context.cores, context.communication, loaders
        )
        shares = [share for share in allgather(self.times.exposed_share) if share is not None]
        self.allreduce_share = sum(shares) / len(shares) if shares else None

    @contextlib.contextmanager
    def recording(self) -> Iterator[SignalNote]:
        """Inside, the run is carried out, and signals are noted.

        It ends with a record, unless it was interrupted.
        """
        world = self.context.world
        try:
            # Not before: where ranks wait for each other in MPI, a noted signal would end nobody.
            with signals_noted(speaks=world.is_first) as note:
                yield note
        except Interrupted:
            self._release()
            raise
        except BaseException as error:
            # All ranks see a divergence, and one of them is enough to record it. Where the record
            # cannot be written either, what failed first is what matters.
            if world.is_first or not isinstance(error, DivergedError):
                with contextlib.suppress(RunError):
                    self.folder.close(self._make_record(*verdict(error, world)))
            self._release()
            if not world.is_first:
                # The caller ends all ranks, and rank 0 may have metrics that are not yet written.
                time.sleep(WRITE_SECONDS + 1)
            raise
        if world.is_first:
            self.folder.close(self._make_record("completed", None))
            remove_checkpoints(self.folder.path / CHECKPOINTS_FOLDER)
            self._release()

    def _release(self) -> None:
        """Let another job work on the run."""
        if self.lock is not None:
            self.lock.release()

    def _make_record(self, status: Status, failure: str | None) -> Record:
        """The record of a run that has ended; `failure` says why it is not completed."""
        state, plan, world = self.state, self.state.plan, self.context.world
        seconds_per_step = self.times.mean_seconds
        return Record(
            run_id=self.folder.path.name,
            kind="synthetic" if plan.source.kind == "synthetic" else "measured",
            status=status,
            started=state.started,
            seconds=self.seconds,
            plan=plan,
            versions=self.context.versions,
            git_commit=self.context.git_commit,
            hosts=tuple(dict.fromkeys(world.hosts)),
            slurm_job_id=job_name_of(os.environ),
            reduction=world.reduction,
            placement=self.placement,
            steps=self.times.steps,
            images_per_second=plan.global_batch / seconds_per_step if seconds_per_step else None,
            seconds_per_step=seconds_per_step,
            allreduce_share=self.allreduce_share,
            epochs=tuple(state.epochs),
            rank_seconds=self.rank_seconds,
            corrupt_images=self.corrupt_images,
            resumed_at=state.resumed_at,
            weights_sha256=self.weights_sha256,
            failure=failure,
        )


def open_recorder(context: RankContext, open_first: Callable[[], OpenRun]) -> RunRecorder:
    """Agree on the run that rank 0 makes or finds with `open_first`. Collective.

    Raises:
        InputError: As `open_first` says.
        RunError: Likewise.
    """
    context.watchdog.watch("the preparation of the run", FIRST_FACTOR)
    begin = time.monotonic()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    opened: OpenRun | None = None

    def open_here() -> tuple[RunFolder, TrainingState]:
        nonlocal opened
        opened = open_first()
        plan, folder, checkpoint, _ = opened
        state = checkpoint.state if checkpoint else first_state(plan, started)
        # The data may have moved meanwhile.
        state.plan = plan
        return folder, state

    folder, state = bcast_from_root(open_here, context.world)
    # At its first step a run with an origin begins: it has a state, and is not continued.
    if state.step > state.plan.first_step:
        state.resumed_at = (*state.resumed_at, state.step)
    lock, checkpoint = (opened.lock, opened.checkpoint) if opened else (None, None)
    return RunRecorder(context, folder, state, lock, begin - state.run_seconds, checkpoint)


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
