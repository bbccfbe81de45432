"""One rank's run, from joining the world to the record.

Importing this module imports TensorFlow, so the process must be on its cores before: see `start`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from dataclasses import dataclass, field

import msgspec

from hvdtrain.errors import HvdtrainError, RunError
from hvdtrain.plan.record import EvaluationResult, RankPlacement, Record, Status, Versions
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.train.average import WeightAverage
from hvdtrain.train.batchnorm import average_batchnorm, moving_statistics
from hvdtrain.train.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    RunState,
    remove_checkpoints,
)
from hvdtrain.train.data.faults import CorruptLog
from hvdtrain.train.data.pipeline import open_pipeline
from hvdtrain.train.digest import weights_sha256
from hvdtrain.train.evaluate import Evaluator
from hvdtrain.train.folder import RunFolder
from hvdtrain.train.interrupt import Interrupted, SignalNote, signals_noted
from hvdtrain.train.keeper import CheckpointInterval, Keeper
from hvdtrain.train.launcher import Launch
from hvdtrain.train.lock import RunLock
from hvdtrain.train.loop import DivergedError, Hooks, Journey, TrainingLoop
from hvdtrain.train.metrics import make_log
from hvdtrain.train.model import make_model
from hvdtrain.train.opening import open_run
from hvdtrain.train.optimizer import make_optimizer
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.pinning import LoaderThreads, RankPins, allowed_cpus, thread_ids
from hvdtrain.train.planning import make_run_id, make_run_plan
from hvdtrain.train.progress import make_reporter
from hvdtrain.train.provenance import read_git_commit, read_slurm_job_id, read_versions
from hvdtrain.train.reduce import GradientMean
from hvdtrain.train.resume import RunMemory
from hvdtrain.train.step import make_train_step
from hvdtrain.train.weights import save_weights
from hvdtrain.train.world import (
    RankAgreement,
    World,
    check_plan_size,
    from_first,
    gather,
    gather_equal,
    join_world,
    leave_world,
    library_version,
)
from hvdtrain.train.writer import CheckpointWriter
from hvdtrain.units import format_cpu_list


@dataclass
class Session:
    """What is known of the run so far. Whatever happens, a record can be made of it."""

    world: World
    plan: RunPlan
    folder: RunFolder
    versions: Versions
    git_commit: str | None
    started: str
    clock_started: float
    checkpoint: Checkpoint | None = None
    lock: RunLock | None = None
    writer: CheckpointWriter = field(default_factory=CheckpointWriter)
    resumed_at: tuple[int, ...] = ()
    journey: Journey = field(default_factory=Journey)
    placement: tuple[RankPlacement, ...] = ()
    allreduce_share: float | None = None
    corrupt_images: int = 0
    weights_sha256: str | None = None

    def leave(self) -> None:
        """Let another job work on the run. Only rank 0 has a lock."""
        if self.lock is not None:
            self.lock.release()


def run_session(
    options: TrainOptions, launch: Launch, pins: RankPins | None, itex: str | None
) -> None:
    """Train as one rank among all. Returns when the record is written.

    Raises:
        InputError: The data, the model or the plan is not possible.
        RunError: The world is not whole, or the run failed. Other ranks may be waiting for this
            one: the caller must end them.
        Interrupted: A signal asked the run to end. It has no record and can be continued. All
            ranks raise this, after the same step.
    """
    git_commit = read_git_commit()
    before = thread_ids()
    world = join_world(launch)
    communication = thread_ids() - before
    session = _open_session(options, world, git_commit, itex)
    try:
        # Not before: where ranks wait for each other inside MPI, a noted signal would end nobody.
        with signals_noted(speaks=world.is_first) as note:
            _train(session, options, pins, communication, note)
    except Interrupted:
        session.leave()
        leave_world()
        raise
    except BaseException as error:
        session.writer.settle()
        # Where the record cannot be written either, what failed first is what matters.
        with contextlib.suppress(OSError):
            session.folder.close(_make_record(session, *_verdict(error, world)))
        session.leave()
        raise
    if world.is_first:
        session.folder.close(_make_record(session, "completed", None))
        remove_checkpoints(session.folder.path / CHECKPOINTS_FOLDER)
        session.leave()
    leave_world()


def _open_session(
    options: TrainOptions, world: World, git_commit: str | None, itex: str | None
) -> Session:
    """Agree on the plan and the folder, and check that all ranks are of one kind."""
    clock_started = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    versions = read_versions(library_version(), itex)
    gather_equal("versions of the stack", versions, world)
    checkpoint: Checkpoint | None = None
    lock: RunLock | None = None

    def begin() -> tuple[RunPlan, RunFolder, RunState | None]:
        nonlocal checkpoint, lock
        plan = make_run_plan(options, world)
        check_plan_size(plan.ranks_per_node, plan.nodes, world)
        run_id = options.run_id or make_run_id(plan, now)
        folder, checkpoint, lock = open_run(options.results, run_id, plan, options.allow_change)
        return plan, folder, checkpoint.state if checkpoint else None

    plan, folder, state = from_first(begin, world)
    started = now.isoformat(timespec="seconds")
    session = Session(world, plan, folder, versions, git_commit, started, clock_started, checkpoint)
    session.lock = lock
    if state is not None:
        session.started = state.started
        session.clock_started -= state.run_seconds
        session.resumed_at = (*state.resumed_at, state.step)
    return session


def _train(
    session: Session,
    options: TrainOptions,
    pins: RankPins | None,
    communication: frozenset[int],
    note: SignalNote,
) -> None:
    plan, world = session.plan, session.world
    model = make_model(plan.model, plan.seed)
    recipe = plan.recipe
    optimizer = make_optimizer(recipe.optimizer, model.trainable_variables)
    average = WeightAverage(model.variables, recipe.average_decay) if recipe.average_decay else None
    average_slots = average.slots if average else []
    final_weights = average.in_place if average else contextlib.nullcontext
    step = make_train_step(
        model,
        optimizer,
        GradientMean(world.ranks),
        rank_batch=plan.rank_batch,
        ranks=world.ranks,
        accumulate=plan.accumulate,
        label_smoothing=recipe.label_smoothing,
        average=average,
    )
    evaluator = Evaluator(model, world.ranks)
    loaders = LoaderThreads()
    data_cpus = pins.data if pins else ()
    pipeline = open_pipeline(plan, world.rank, max(1, len(data_cpus)), data_cpus)
    statistics = moving_statistics(model)
    session.writer = CheckpointWriter(data_cpus)
    memory = RunMemory(
        session.folder,
        plan,
        world,
        shared=[*model.variables, *optimizer.slots, *average_slots],
        own=[*statistics, *(average.means_of(statistics) if average else [])],
        corrupt=pipeline.corrupt_training,
        writer=session.writer,
    )
    session.journey = memory.restore(session.checkpoint)
    session.checkpoint = None

    def evaluate() -> EvaluationResult:
        average_batchnorm(model, world.ranks)
        with final_weights():
            if average is not None:
                average_batchnorm(model, world.ranks)
            result = evaluator.evaluate(loaders.watch(pipeline.validation()))
        session.corrupt_images = _count_corrupt(pipeline.corrupt_training)
        corrupt = _count_corrupt(pipeline.corrupt_validation)
        return msgspec.structs.replace(result, corrupt=corrupt)

    with (
        make_reporter(world.is_first, plan.total_steps) as reporter,
        make_log(session.folder, world.is_first, options.tensorboard) as log,
    ):
        reporter.say(_opening(plan, session))
        keeper = _make_keeper(session, options, note, memory)
        hooks = Hooks(evaluate, log, reporter, keeper)
        batches = loaders.watch(pipeline.training(session.journey.step))
        TrainingLoop(plan, step, batches, hooks, session.journey).run()
    session.writer.finish()
    session.placement = _gather_placement(world, communication, loaders)
    _gather_share(session)
    with final_weights():
        session.weights_sha256 = weights_sha256(model.variables)
        gather_equal("final weights", session.weights_sha256, world)
        if world.is_first:
            save_weights(model, session.folder.path)


def _make_keeper(
    session: Session, options: TrainOptions, note: SignalNote, memory: RunMemory
) -> Keeper:
    def save() -> None:
        memory.save(
            session.journey,
            started=session.started,
            run_seconds=time.monotonic() - session.clock_started,
            resumed_at=session.resumed_at,
        )

    interval = CheckpointInterval(options.checkpoint_minutes * 60, options.checkpoint_epochs)
    return Keeper(
        interval, RankAgreement(), note, save, session.writer, keeps_time=session.world.is_first
    )


def _count_corrupt(log: CorruptLog) -> int:
    """Corrupt images that any rank has met, each counted once. Collective.

    Raises:
        RunError: They are more than a run puts up with.
    """
    found = len(frozenset().union(*gather(log.examples)))
    if found > log.limit:
        raise RunError(
            f"{found} corrupt {log.split} images are more than the {log.limit} that a run puts "
            "up with; the ranks have named them above",
            "repair or remove them; hvdtrain prepare-data leaves them out",
        )
    return found


def _opening(plan: RunPlan, session: Session) -> str:
    return (
        f"{plan.model.name} {plan.model.image_size}x{plan.model.image_size} "
        f"{plan.model.precision}, {plan.recipe.name}, {plan.ranks} ranks x {plan.rank_batch}"
        f"{f' x {plan.accumulate} accumulated' if plan.accumulate > 1 else ''} = "
        f"global batch {plan.global_batch}, {plan.total_steps} steps, "
        f"peak learning rate {plan.schedule.peak_lr:.4g}; results in {session.folder.path}"
    )


def _gather_placement(
    world: World, communication: frozenset[int], loaders: LoaderThreads
) -> tuple[RankPlacement, ...]:
    """Where every rank's threads may run, by the kernel's word. Collective."""
    compute = thread_ids() - communication - loaders.alive
    own = RankPlacement(
        rank=world.rank,
        host=world.hosts[world.rank],
        compute=format_cpu_list(allowed_cpus(compute)),
        communication=format_cpu_list(allowed_cpus(communication)),
        data=format_cpu_list(loaders.cpus),
    )
    return tuple(gather(own))


def _gather_share(session: Session) -> None:
    shares = [share for share in gather(session.journey.clock.exposed_share) if share is not None]
    session.allreduce_share = sum(shares) / len(shares) if shares else None


def _verdict(error: BaseException, world: World) -> tuple[Status, str]:
    """How the run ended, and why, in the words of the rank that says it."""
    where = f"rank {world.rank} on {world.hosts[world.rank]}"
    match error:
        case DivergedError():
            return "diverged", error.message
        case HvdtrainError():
            return "failed", f"{where}: {error}"
        case _:
            return "failed", f"{where}: {type(error).__name__}: {error}"


def _make_record(session: Session, status: Status, failure: str | None) -> Record:
    plan, world, clock = session.plan, session.world, session.journey.clock
    seconds_per_step = clock.mean_seconds
    return Record(
        run_id=session.folder.path.name,
        kind="synthetic" if plan.source.kind == "synthetic" else "measured",
        status=status,
        started=session.started,
        seconds=time.monotonic() - session.clock_started,
        plan=plan,
        versions=session.versions,
        git_commit=session.git_commit,
        hosts=tuple(dict.fromkeys(world.hosts)),
        slurm_job_id=read_slurm_job_id(),
        reduction=world.reduction,
        placement=session.placement,
        steps=clock.steps,
        images_per_second=plan.global_batch / seconds_per_step if seconds_per_step else None,
        seconds_per_step=seconds_per_step,
        allreduce_share=session.allreduce_share,
        epochs=tuple(session.journey.epochs),
        corrupt_images=session.corrupt_images,
        resumed_at=session.resumed_at,
        weights_sha256=session.weights_sha256,
        failure=failure,
    )
