"""One rank's part in a run: train, keep, evaluate, and leave a record.

Importing this module imports TensorFlow, so the process must be on its cores before: see `start`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
from collections.abc import Callable

import msgspec

from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, SNAPSHOTS_FOLDER, STOP_FILE
from hvdtrain.runs.record import EvaluationResult, Straggler
from hvdtrain.train.checkpoint.archive import Checkpoint, write_checkpoint, write_snapshot
from hvdtrain.train.checkpoint.coordinator import CheckpointCoordinator
from hvdtrain.train.checkpoint.digest import weights_sha256
from hvdtrain.train.checkpoint.interrupt import SignalNote, StopFile
from hvdtrain.train.checkpoint.resume import restore_checkpoint, take_checkpoint
from hvdtrain.train.checkpoint.weights import save_weights
from hvdtrain.train.checkpoint.writer import CheckpointWriter
from hvdtrain.train.data.corrupt import count_corrupt
from hvdtrain.train.data.pipeline import open_pipeline
from hvdtrain.train.health.binding import attest, require_attested
from hvdtrain.train.health.divergence import RankFault
from hvdtrain.train.health.finite_check import gather_faults, require_finite
from hvdtrain.train.health.stragglers import StragglerWatch
from hvdtrain.train.health.watchdog import FIRST_FACTOR
from hvdtrain.train.loop import TrainingLoop
from hvdtrain.train.metrics import MetricsLog, open_metrics
from hvdtrain.train.open_run import OpenRun, make_run_id, make_run_plan, open_run
from hvdtrain.train.options import RunOptions, TrainOptions
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.pinning import LoaderThreads
from hvdtrain.train.process.world import RankAgreement, World, check_plan_size, require_equal
from hvdtrain.train.progress import make_reporter
from hvdtrain.train.recorder import RunRecorder, open_recorder
from hvdtrain.train.state import RankState, StepTimes
from hvdtrain.train.trainer import make_trainer


def run_training(options: TrainOptions, context: RankContext) -> None:
    """Train as one rank among all. Returns when the record is written. Collective.

    Raises:
        InputError: The data, the model or the plan is not possible.
        RunError: The run failed. Other ranks may be waiting for this one: the caller must end
            them.
        Interrupted: A signal asked the run to end. It has no record and can be continued. All
            ranks raise this, after the same step.
    """
    begin = functools.partial(begin_training, options, context.world)
    recorder = open_recorder(context, begin)
    with recorder.recording() as note:
        Run(recorder, options, note).train()


def begin_training(options: TrainOptions, world: World) -> OpenRun:
    """The plan and the folder of a run, new or one that did not end. For rank 0."""
    plan = make_run_plan(options, world)
    check_plan_size(plan.ranks_per_node, plan.nodes, world)
    run_id = options.run_id or make_run_id(plan, datetime.datetime.now(datetime.UTC))
    return open_run(options.results, run_id, plan, options.allow_change)


class Run:
    """A network in training on one rank, with its data and all that is kept of it.

    Args:
        recorder: The run. It goes on from its checkpoint, if there is one.
        options: When checkpoints are written, and where metrics go.
        note: Where this rank's signal appears.

    Attributes:
        world: All ranks.
        plan: What to do.
        state: How far the run has come.
        trainer: The network, and what changes or judges its weights.
        batches: Of this rank, `plan.accumulate` for each update that is left.
        coordinator: Writes checkpoints and stops the run where it is asked to.
        reporter: Tells a person.
        watchdog: Is told what this rank begins.
    """

    def __init__(self, recorder: RunRecorder, options: RunOptions, note: SignalNote) -> None:
        context = recorder.context
        self._recorder = recorder
        self._options = options
        self.world = world = context.world
        self.watchdog = context.watchdog
        self.state = recorder.state
        self.plan = plan = recorder.state.plan
        self.trainer = make_trainer(plan)
        self._loaders = LoaderThreads()
        self._pipeline = open_pipeline(plan, world.rank, context.loader_threads, context.data_cpus)
        self._pipeline.corrupt_training.recall(self.state.ranks[world.rank].corrupt)
        restore_checkpoint(self.trainer, recorder.checkpoint, world)
        # It is as large as the network.
        recorder.checkpoint = None
        self.batches = self._loaders.watch(self._pipeline.training(self.state.step))
        self._writer = CheckpointWriter(context.data_cpus)
        self.coordinator = CheckpointCoordinator(
            RankAgreement(),
            note,
            StopFile(recorder.folder.path / STOP_FILE) if world.is_first else None,
            self._writer,
            self.save,
            seconds=options.checkpoint_minutes * 60,
            epochs=options.checkpoint_epochs,
        )
        self.reporter = make_reporter(world.is_first, plan.total_steps)
        self._stragglers = StragglerWatch(world, self.reporter.say)
        self._metrics: MetricsLog | None = None
        self._evaluates_first = True

    @property
    def times(self) -> StepTimes:
        """Of this rank's updates."""
        return self._recorder.times

    def train(self) -> None:
        """Make all updates that are left, and leave the final weights. Collective.

        Raises:
            DivergedError: Something is NaN or infinite.
            RunError: Something cannot be written, or the ranks do not agree.
            Interrupted: A signal asked the run to end. A checkpoint is there.
        """
        try:
            with self.reporter, self._open_metrics() as self._metrics:
                self.reporter.say(self._opening())
                TrainingLoop(self).run()
        finally:
            self.watchdog.watch("the end of the run")
            self._writer.settle()
        self._writer.finish()
        self._recorder.gather(self._loaders, self._stragglers.rank_seconds)
        with self.trainer.final_weights():
            self._leave_weights()

    def log_metrics(self, line: MetricsLine) -> None:
        """Keep a line of the metrics, on rank 0. Does not wait."""
        if self._metrics is not None:
            self._metrics.add(line)

    def evaluate(self) -> EvaluationResult:
        """Evaluate the final weights on the whole validation set. Collective."""
        what = f"the evaluation after step {self.state.step}"
        factor, self._evaluates_first = FIRST_FACTOR if self._evaluates_first else 1.0, False
        self.watchdog.watch(f"{what}: the moving statistics")
        # Before moving statistics are averaged, and one rank's NaN is that of all.
        require_finite(
            self.trainer.replicated, f"the state after step {self.state.step}", self.world
        )
        batches = self._loaders.watch(self._pipeline.validation())
        result = self.trainer.evaluate(self.watchdog.over(batches, what, factor))
        self._recorder.corrupt_images = count_corrupt(self._pipeline.corrupt_training)
        corrupt = count_corrupt(self._pipeline.corrupt_validation)
        return msgspec.structs.replace(result, corrupt=corrupt)

    def save(self) -> None:
        """Begin to write a checkpoint. The training may go on meanwhile. Collective.

        Raises:
            DivergedError: A rank holds NaN or infinity.
            RunError: The checkpoint before cannot be written, or the ranks do not hold the same.
                Either they all say, and such a state is not written.
        """
        folder = self._recorder.folder.path / CHECKPOINTS_FOLDER
        self._write(lambda checkpoint: write_checkpoint(folder, checkpoint))

    def keep_snapshot(self, number: int, evaluation: EvaluationResult) -> None:
        """Begin to write a snapshot, as `save` does. Collective.

        Args:
            number: Among the snapshots of the run, from 1.
            evaluation: Of this very state.
        """
        folder = self._recorder.folder.path / SNAPSHOTS_FOLDER

        def write(checkpoint: Checkpoint) -> None:
            checkpoint.state.evaluation = evaluation
            write_snapshot(folder, number, checkpoint)

        self._write(write)

    def find_stragglers(self, compute_seconds: float | None) -> tuple[Straggler, ...]:
        """Name the ranks for which the others waited. Collective.

        Args:
            compute_seconds: This rank's mean seconds of an update without its wait for the
                reduction; None: no update counts.
        """
        return self._stragglers.find(compute_seconds)

    def gather_faults(self, where: str | None) -> list[RankFault]:
        """What is not finite on each rank that has such a thing. Collective.

        Args:
            where: What of this rank; None: all is finite.
        """
        return gather_faults(where, self.world)

    def check_threads(self) -> None:
        """Compare the threads with the core map, when all exist. Collective.

        Raises:
            RunError: They are elsewhere, and --no-attest was not given.
        """
        context = self._recorder.context
        if context.cores is not None and self._options.attest:
            require_attested(attest(self.world, context.cores, context.communication))

    def _open_metrics(self) -> contextlib.AbstractContextManager[MetricsLog | None]:
        if not self.world.is_first:
            return contextlib.nullcontext()
        return open_metrics(
            self._recorder.folder,
            tensorboard=self._options.tensorboard,
            cpus=self._recorder.context.data_cpus,
        )

    def _write(self, write: Callable[[Checkpoint], object]) -> None:
        """Copy the state now, and write it in the background."""
        self.watchdog.watch(f"a checkpoint or snapshot after step {self.state.step}")
        self._writer.finish()
        self.state.run_seconds = self._recorder.seconds
        corrupt = tuple(sorted(self._pipeline.corrupt_training.examples))
        own = RankState(times=self.times, corrupt=corrupt)
        checkpoint = take_checkpoint(self.trainer, self.state, own, self.world)
        if checkpoint is None:
            return

        def write_all() -> None:
            # A run that goes on from there writes no line of these steps again.
            if self._metrics is not None:
                self._metrics.flush()
            write(checkpoint)

        self._writer.start(write_all)

    def _leave_weights(self) -> None:
        """Write the final weights, which all ranks have alike. Collective."""
        model = self.trainer.model
        after = f"the final state after step {self.state.step}"
        require_finite(model.variables, after, self.world)
        digest = weights_sha256(model.variables)
        require_equal("final weights", digest, self.world)
        self._recorder.weights_sha256 = digest
        if self.world.is_first:
            save_weights(model, self._recorder.folder.path)

    def _opening(self) -> str:
        plan, origin = self.plan, self.plan.origin
        begins = (
            f"from snapshot {origin.snapshot} of {origin.run_id} at step {origin.step}, "
            if origin
            else ""
        )
        return (
            f"{plan.model.name} {plan.model.image_size}x{plan.model.image_size} "
            f"{plan.model.precision}, {plan.recipe.name}, {begins}"
            f"{plan.ranks} ranks x {plan.rank_batch}"
            f"{f' x {plan.accumulate} accumulated' if plan.accumulate > 1 else ''} = "
            f"global batch {plan.global_batch}, {plan.total_steps} steps, "
            f"peak learning rate {plan.schedule.peak_lr:.4g}; "
            f"results in {self._recorder.folder.path}"
        )
