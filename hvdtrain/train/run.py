"""One rank's part in a run: train, keep, evaluate, and leave a record.

Importing this module imports TensorFlow, so the process must be on its cores before: see `start`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import time
from collections.abc import Callable

import msgspec
import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, STOP_FILE
from hvdtrain.runs.record import EvaluationResult, RankPlacement
from hvdtrain.train.checkpoint.archive import remove_checkpoints
from hvdtrain.train.checkpoint.coordinator import CheckpointCoordinator, CheckpointInterval
from hvdtrain.train.checkpoint.digest import weights_sha256
from hvdtrain.train.checkpoint.interrupt import Interrupted, SignalNote, StopFile, signals_noted
from hvdtrain.train.checkpoint.resume import RunMemory
from hvdtrain.train.checkpoint.weights import save_weights
from hvdtrain.train.checkpoint.writer import CheckpointWriter
from hvdtrain.train.data.corrupt import count_corrupt
from hvdtrain.train.data.pipeline import open_pipeline
from hvdtrain.train.health.binding import attest, require_attested
from hvdtrain.train.health.finite_check import gather_faults, require_finite
from hvdtrain.train.health.stragglers import StragglerWatch
from hvdtrain.train.loop import Hooks, TrainingLoop
from hvdtrain.train.metrics import make_log
from hvdtrain.train.open_run import make_run_id, make_run_plan, open_run
from hvdtrain.train.options import RunOptions, TrainOptions
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.pinning import LoaderThreads, allowed_cpus, thread_ids
from hvdtrain.train.process.world import RankAgreement, allgather, check_plan_size, require_equal
from hvdtrain.train.progress import make_reporter
from hvdtrain.train.session import Opened, Session, make_record, open_session, verdict
from hvdtrain.train.state import Snapshot
from hvdtrain.train.trainer import make_trainer
from hvdtrain.units import format_cpu_list


def carry_out(context: RankContext, options: RunOptions, begin: Callable[[], Opened]) -> None:
    """Carry out one run, from its folder to its record. Collective.

    Args:
        context: This rank among all.
        options: When checkpoints are written, and where metrics go.
        begin: Makes or finds the run; called on rank 0.

    Raises:
        InputError: As `begin` says.
        RunError: The run failed. Other ranks may be waiting for this one.
        Interrupted: A signal asked the run to end. All ranks raise this, after the same step.
    """
    world = context.world
    session = open_session(context, begin)
    try:
        # Not before: where ranks wait for each other inside MPI, a noted signal would end nobody.
        with signals_noted(speaks=world.is_first) as note:
            _train(session, options, note)
    except Interrupted:
        session.leave()
        raise
    except BaseException as error:
        session.writer.settle()
        # Where the record cannot be written either, what failed first is what matters.
        with contextlib.suppress(RunError):
            session.folder.close(make_record(session, *verdict(error, world)))
        session.leave()
        raise
    if world.is_first:
        session.folder.close(make_record(session, "completed", None))
        remove_checkpoints(session.folder.path / CHECKPOINTS_FOLDER)
        session.leave()


def _train(session: Session, options: RunOptions, note: SignalNote) -> None:
    plan, world, context = session.plan, session.world, session.context
    trainer = make_trainer(plan, world.ranks)
    loaders = LoaderThreads()
    pipeline = open_pipeline(plan, world.rank, context.loader_threads, context.data_cpus)
    session.writer = CheckpointWriter(context.data_cpus)
    memory = RunMemory(
        session.folder,
        plan,
        world,
        shared=trainer.shared,
        own=trainer.own,
        corrupt=pipeline.corrupt_training,
        writer=session.writer,
    )
    session.journey = memory.restore(session.checkpoint)
    session.checkpoint = None

    def evaluate() -> EvaluationResult:
        # Before moving statistics are averaged, and one rank's NaN is that of all.
        require_finite(trainer.shared, f"the state after step {session.journey.step}", world)
        result = trainer.evaluate(loaders.watch(pipeline.validation()))
        session.corrupt_images = count_corrupt(pipeline.corrupt_training)
        corrupt = count_corrupt(pipeline.corrupt_validation)
        return msgspec.structs.replace(result, corrupt=corrupt)

    def save(snapshot: Snapshot | None = None) -> None:
        memory.save(
            session.journey,
            started=session.started,
            run_seconds=time.monotonic() - session.clock_started,
            resumed_at=session.resumed_at,
            snapshot=snapshot,
        )

    def look_at_threads() -> None:
        if context.cores is not None and not options.no_attest:
            require_attested(attest(world, context.cores, context.communication))

    with (
        make_reporter(world.is_first, plan.total_steps) as reporter,
        make_log(session.folder, world.is_first, options.tensorboard) as log,
    ):
        reporter.say(_opening(plan, session))
        coordinator = _make_keeper(session, options, note, save)
        watch = StragglerWatch(world, reporter.say)
        faults = functools.partial(gather_faults, world=world)
        hooks = Hooks(
            evaluate, log, reporter, coordinator, save, faults, watch.find, look_at_threads
        )
        batches = loaders.watch(pipeline.training(session.journey.step))
        TrainingLoop(plan, trainer.step, batches, hooks, session.journey).run()
    session.rank_seconds = watch.rank_seconds
    session.writer.finish()
    session.placement = _gather_placement(context, loaders)
    _gather_share(session)
    with trainer.final_weights():
        _leave_weights(session, trainer.model)


def _leave_weights(session: Session, model: tf.keras.Model) -> None:
    """Write the final weights, which all ranks have alike. Collective."""
    world = session.world
    require_finite(model.variables, f"the final state after step {session.journey.step}", world)
    session.weights_sha256 = weights_sha256(model.variables)
    require_equal("final weights", session.weights_sha256, world)
    if world.is_first:
        save_weights(model, session.folder.path)


def _make_keeper(
    session: Session, options: RunOptions, note: SignalNote, save: Callable[[], None]
) -> CheckpointCoordinator:
    interval = CheckpointInterval(options.checkpoint_minutes * 60, options.checkpoint_epochs)
    is_first = session.world.is_first
    stop = StopFile(session.folder.path / STOP_FILE)
    asked = stop.is_there if is_first else lambda: False
    return CheckpointCoordinator(
        interval, RankAgreement(), note, asked, save, session.writer, is_first
    )


def _opening(plan: RunPlan, session: Session) -> str:
    origin = plan.origin
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
        f"peak learning rate {plan.schedule.peak_lr:.4g}; results in {session.folder.path}"
    )


def _gather_placement(context: RankContext, loaders: LoaderThreads) -> tuple[RankPlacement, ...]:
    """Where every rank's threads may run, by the kernel's word. Collective."""
    world = context.world
    if context.cores is not None:
        return attest(world, context.cores, context.communication, loaders.cpus).placement
    compute = thread_ids() - context.communication - loaders.alive
    own = RankPlacement(
        rank=world.rank,
        host=world.hosts[world.rank],
        compute=format_cpu_list(allowed_cpus(compute)),
        communication=format_cpu_list(allowed_cpus(context.communication)),
        data=format_cpu_list(loaders.cpus),
    )
    return tuple(allgather(own))


def _gather_share(session: Session) -> None:
    shares = [
        share for share in allgather(session.journey.clock.exposed_share) if share is not None
    ]
    session.allreduce_share = sum(shares) / len(shares) if shares else None


def run_training(options: TrainOptions, context: RankContext) -> None:
    """Train as one rank among all. Returns when the record is written. Collective.

    Raises:
        InputError: The data, the model or the plan is not possible.
        RunError: The run failed. Other ranks may be waiting for this one: the caller must end
            them.
        Interrupted: A signal asked the run to end. It has no record and can be continued. All
            ranks raise this, after the same step.
    """

    def begin() -> Opened:
        plan = make_run_plan(options, context.world)
        check_plan_size(plan.ranks_per_node, plan.nodes, context.world)
        run_id = options.run_id or make_run_id(plan, datetime.datetime.now(datetime.UTC))
        folder, checkpoint, lock = open_run(options.results, run_id, plan, options.allow_change)
        return Opened(plan, folder, checkpoint, lock)

    carry_out(context, options, begin)
