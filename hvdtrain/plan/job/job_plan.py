"""The job plan: a run plan, and everything the scheduler and the script must know about it."""

from __future__ import annotations

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.forecast import (
    Forecast,
    find_forecast,
)
from hvdtrain.plan.job.asked_run import plan_run, ranks_on_a_node, recipe_name
from hvdtrain.plan.job.data_fit import DataSize, copy_minutes, fit_notes, require_room
from hvdtrain.plan.job.directives import make_directives
from hvdtrain.plan.job.notes import job_notes
from hvdtrain.plan.job.notice import notice_seconds
from hvdtrain.plan.job.partition import candidates, place_job
from hvdtrain.plan.job.request import JobRequest, check_request
from hvdtrain.plan.machine.core_map import CoreMap, default_comm_cores, make_core_map
from hvdtrain.plan.machine.environment import Layer, make_settings
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.plan.machine.system import Partition, Slurm, System
from hvdtrain.plan.machine.topology import make_topology
from hvdtrain.plan.method.run_plan import RunPlan


class ScriptOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a script comes from, and what it calls.

    Attributes:
        command: The command line that made it, quoted for a shell.
        hvdtrain: Path of the program on the cluster.
        systems_folder: The user's own system files, when they are not in the usual place.
        packed: The program in one file; None: not packed, or outdated, or another program.
        may_pack: Whether `hvdtrain pack` would change that.
    """

    command: str
    hvdtrain: str
    systems_folder: str | None = None
    packed: Packed | None = None
    may_pack: bool = False


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

    @property
    def packed(self) -> Packed | None:
        """The installation that comes to the nodes; None: the ranks run from where it lies."""
        return self.origin.packed if self.request.pack else None


def make_job(
    request: JobRequest, system: System, origin: ScriptOrigin, data: DataSize | None = None
) -> JobPlan:
    """The plan of a job.

    Args:
        request: What is asked for.
        system: The cluster.
        origin: Where the script comes from.
        data: What the nodes will copy; None: not known.

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
    if data is not None:
        require_room(data, system.node, run, origin.packed if request.pack else None)
    copying = copy_minutes(data, nodes) if data else 0
    placement = place_job(
        entries,
        nodes,
        walltime_min=request.walltime_min,
        forecast_min=forecast.walltime_min + copying if forecast else None,
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
        recipe=recipe_name(request, run.global_batch),
        core_map=core_map,
        layers=make_settings(core_map, slurm.mpi, itex=system.node.avx512 == "full"),
        forecast=forecast,
        directives=make_directives(
            system, request, run.ranks_per_node, placement, job_name, notice
        ),
        job_name=job_name,
        template=request.template or slurm.template,
        notes=(
            *job_notes(request, system, run, placement, forecast, may_pack=origin.may_pack),
            *(fit_notes(data, system.node, nodes) if data else ()),
        ),
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


def _core_map(request: JobRequest, system: System) -> CoreMap:
    ranks = ranks_on_a_node(request, system)
    comm_cores = request.comm_cores
    if comm_cores is None:
        comm_cores = default_comm_cores(system.node.cores, ranks, system.cores.comm_cores)
    return make_core_map(make_topology(system.node), ranks, comm_cores)
