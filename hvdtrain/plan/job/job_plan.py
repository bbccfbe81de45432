"""The job plan: a run plan, and everything the scheduler and the script must know about it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.forecast import (
    Forecast,
    find_forecast,
    make_forecast,
    why_no_forecast,
)
from hvdtrain.plan.job.directives import make_directives
from hvdtrain.plan.job.notice import notice_seconds
from hvdtrain.plan.job.partition import Placement, candidates, place_job
from hvdtrain.plan.job.request import DATA_VARIABLE, JobRequest, check_request
from hvdtrain.plan.machine.core_map import CoreMap, default_comm_cores, make_core_map
from hvdtrain.plan.machine.environment import Layer, make_settings
from hvdtrain.plan.machine.system import Partition, Slurm, System
from hvdtrain.plan.machine.topology import make_topology
from hvdtrain.plan.method.dataset import (
    IMAGENET_TRAIN_IMAGES,
    IMAGENET_VALIDATION_IMAGES,
    DataKind,
    DatasetInfo,
    DataSource,
)
from hvdtrain.plan.method.recipe import Recipe, default_recipe, load_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan, split_node_batch
from hvdtrain.units import format_duration, format_walltime

MOST_NODES_TRIED = 10_000
"""More than any machine here has: an end to the search for a number of nodes that would do."""


class ScriptOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a script comes from, and what it calls.

    Attributes:
        command: The command line that made it, quoted for a shell.
        hvdtrain: Path of the program on the cluster.
        systems_folder: The user's own system files, when they are not in the usual place.
    """

    command: str
    hvdtrain: str
    systems_folder: str | None = None


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A job, decided in full.

    Attributes:
        request: What was asked for, checked.
        origin: Where the script comes from.
        system: The cluster, as its file describes it.
        slurm: Its scheduler.
        partition: Where the job goes.
        walltime_min: Minutes it asks for.
        run: What the ranks will do, on the data set that the paper used.
        recipe: What `hvdtrain train` shall call the recipe.
        core_map: Which cores of a node compute, communicate and load data for which rank.
        layers: The environment of the ranks, one layer of software after the other.
        forecast: None: nothing was measured on this system, or only another model.
        directives: #SBATCH directives in order; "" is a bare flag.
        job_name: Slurm's, and the beginning of the run's folder.
        template: Template of the script.
        run_id: The run's folder, where that is decided before the job has a number. None: the
            job's name and number.
        notes: What the user should know before submitting.
    """

    request: JobRequest
    origin: ScriptOrigin
    system: System
    slurm: Slurm
    partition: Partition
    walltime_min: int
    run: RunPlan
    recipe: str
    core_map: CoreMap
    layers: tuple[Layer, ...]
    forecast: Forecast | None
    directives: dict[str, str]
    job_name: str
    template: str
    run_id: str | None = None
    notes: tuple[str, ...]


def make_job(request: JobRequest, system: System, origin: ScriptOrigin) -> JobPlan:
    """The plan of a job.

    Raises:
        InputError: Something asked for is not possible; the message names the option, the limit
            and the nearest legal value.
    """
    slurm = _scheduler(system)
    request = check_request(request)
    nodes = _require_nodes(request)
    entries = candidates(system, request.partition, request.qos)
    # The limits of the site come first: the plan of an impossible job is of no use.
    place_job(entries, nodes, walltime_min=request.walltime_min)
    core_map = _core_map(request, system)
    run = plan_run(request, system, nodes)
    forecast = find_forecast(run, system.step_time)
    placement = place_job(
        entries,
        nodes,
        walltime_min=request.walltime_min,
        forecast_min=forecast.walltime_min if forecast else None,
    )
    notice = notice_seconds(run, forecast, placement.walltime_min)
    job_name = request.job_name or f"hvdtrain-{system.name}-{nodes}n-b{run.global_batch}"
    return JobPlan(
        request=request,
        origin=origin,
        system=system,
        slurm=slurm,
        partition=placement.partition,
        walltime_min=placement.walltime_min,
        run=run,
        recipe=_recipe(request, run.global_batch),
        core_map=core_map,
        layers=make_settings(core_map, slurm.mpi, itex=system.node.avx512 == "full"),
        forecast=forecast,
        directives=make_directives(
            system, request, run.ranks_per_node, placement, job_name, notice
        ),
        job_name=job_name,
        template=request.template or slurm.template,
        notes=_notes(request, system, run, placement, forecast),
    )


def _scheduler(system: System) -> Slurm:
    if system.slurm is None:
        raise InputError(
            "--system", system.name, "a system with a scheduler", "use hvdtrain dry-run here"
        )
    return system.slurm


def _require_nodes(request: JobRequest) -> int:
    if request.nodes is None:
        raise InputError("--nodes", None, "the number of nodes", "--nodes 256")
    return request.nodes


def _ranks_per_node(request: JobRequest, system: System) -> int:
    asked = request.ranks_per_node
    return system.cores.ranks_per_node if asked is None else asked


def _core_map(request: JobRequest, system: System) -> CoreMap:
    ranks = _ranks_per_node(request, system)
    comm_cores = request.comm_cores
    if comm_cores is None:
        comm_cores = default_comm_cores(system.node.cores, ranks, system.cores.comm_cores)
    return make_core_map(make_topology(system.node), ranks, comm_cores)


def _recipe(request: JobRequest, global_batch: int) -> str:
    return request.recipe or default_recipe(global_batch)


def plan_run(
    request: JobRequest,
    system: System,
    nodes: int,
    load: Callable[[str], Recipe] = load_recipe,
) -> RunPlan:
    """What the ranks of a request will do on so many nodes.

    Raises:
        InputError: The batch, the recipe or the model is not possible.
    """
    ranks_per_node = _ranks_per_node(request, system)
    # The folder is on the cluster: the ranks will see what it holds.
    kind: DataKind = "synthetic" if request.is_synthetic else "tfrecords"
    images = request.images_per_epoch if request.is_synthetic else IMAGENET_TRAIN_IMAGES
    return make_plan(
        request,
        system=system.name,
        nodes=nodes,
        ranks_per_node=ranks_per_node,
        rank_batch=split_node_batch(request.node_batch, ranks_per_node),
        recipe=load(_recipe(request, nodes * request.node_batch * request.accumulate)),
        source=DataSource(kind=kind, path="" if request.is_synthetic else request.data or ""),
        dataset=DatasetInfo(
            train_images=images,
            validation_images=IMAGENET_VALIDATION_IMAGES,
            classes=request.unseen_classes,
        ),
    )


def _notes(
    request: JobRequest,
    system: System,
    run: RunPlan,
    placement: Placement,
    forecast: Forecast | None,
) -> tuple[str, ...]:
    partition = placement.partition
    notes = []
    if not placement.fits and forecast is not None:
        notes.append(_too_long(request, system, placement, forecast))
    if forecast is not None and placement.walltime_min < forecast.walltime_min and placement.fits:
        wanted = format_walltime(forecast.walltime_min)
        notes.append(f"the run will not end within its wall time: the forecast asks for {wanted}")
    if forecast is None and request.walltime is None:
        notes.append(
            f"{why_no_forecast(run, system.step_time)}: the wall time is the limit of "
            f"{partition.name}, {format_walltime(partition.max_walltime_min)}; "
            "give --walltime when you know better"
        )
    if forecast is not None and request.walltime is None and not _is_fitted(request, system):
        notes.append(
            "the forecast is outside of what it was fitted to; the wall time has twice the margin"
        )
    if request.data is None:
        notes.append(
            f"no --data: the job reads its folder from {DATA_VARIABLE}, and stops at once where "
            "that is not set; `--data synthetic` trains on made-up images"
        )
    if partition.note:
        notes.append(f"{partition.name}: {partition.note}")
    if f"partition.{partition.name}" in system.unverified:
        notes.append(f"the limits of {partition.name} are unverified: {partition.limits}")
    if request.qos is not None and request.qos != partition.qos:
        notes.append(f"the limits of the QOS {request.qos} are not known and were not checked")
    return tuple(notes)


def _is_fitted(request: JobRequest, system: System) -> bool:
    assert system.step_time is not None and request.nodes is not None
    return system.step_time.is_fitted(request.node_batch, request.nodes)


def _too_long(request: JobRequest, system: System, placement: Placement, forecast: Forecast) -> str:
    """What to say when the run does not end within any partition's limit."""
    needed = format_duration(forecast.walltime_min * 60)
    text = (
        f"the run does not fit into one job: it needs {needed} at most, the limit is "
        f"{placement.partition.limits}"
    )
    fewest = _fewest_nodes(request, system)
    if fewest is None:
        return text
    return f"{text}; the same batch per node on {fewest} nodes would fit"


def _fewest_nodes(request: JobRequest, system: System) -> int | None:
    """The fewest nodes above those asked for on which the run fits into one job."""
    entries = candidates(system, request.partition, request.qos)
    assert request.nodes is not None and system.step_time is not None
    most = min(MOST_NODES_TRIED, max(entry.max_nodes for entry in entries))
    load = functools.cache(load_recipe)
    for nodes in range(request.nodes + 1, most + 1):
        try:
            forecast = make_forecast(plan_run(request, system, nodes, load), system.step_time)
            if place_job(entries, nodes, forecast_min=forecast.walltime_min).fits:
                return nodes
        except InputError:  # a gap between the partitions, or more images than the data has
            continue
    return None
