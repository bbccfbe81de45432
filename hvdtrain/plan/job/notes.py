"""What the user should know of a job before it is submitted."""

from __future__ import annotations

import functools

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.forecast import Forecast, make_forecast, why_no_forecast
from hvdtrain.plan.job.asked_run import plan_run
from hvdtrain.plan.job.partition import Placement, candidates, place_job
from hvdtrain.plan.job.request import DATA_VARIABLE, JobRequest
from hvdtrain.plan.machine.system import System
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.units import format_duration, format_walltime

MANY_RANKS = 64
"""From here on it is worth a note that the ranks load all they need from one file system."""

LOOKUPS_OF_A_RANK = 25_000
"""Paths that a rank looks up until TensorFlow and Horovod are loaded: docs/performance.md."""

MOST_NODES_TRIED = 10_000
"""More than any machine here has: an end to the search for a number of nodes that would do."""


def job_notes(
    request: JobRequest,
    system: System,
    run: RunPlan,
    placement: Placement,
    forecast: Forecast | None,
    *,
    may_pack: bool,
) -> tuple[str, ...]:
    """What is worth saying about a job that is possible.

    Args:
        request: What was asked for, checked.
        system: The cluster.
        run: What the ranks will do.
        placement: Where the job goes.
        forecast: None: there is none.
        may_pack: Whether `hvdtrain pack` would bring the program to the nodes, and has not.
    """
    partition = placement.partition
    notes = []
    if system.switched_off:
        notes.append(f"{system.name} was switched off {system.switched_off}: no job starts there")
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
    if may_pack and request.pack and run.ranks >= MANY_RANKS:
        lookups = run.ranks * LOOKUPS_OF_A_RANK / 1e6
        notes.append(
            f"{run.ranks} ranks load TensorFlow from one file system, in {lookups:.0f} million "
            "lookups of a path: `hvdtrain pack` makes them load it from their node"
        )
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
