"""A job plan in words: the same lines in a script's header and in `--explain`."""

from __future__ import annotations

from hvdtrain.plan.forecast.forecast import why_no_forecast
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.plan.job.request import DATA_VARIABLE, JobRequest
from hvdtrain.plan.machine.core_map import CoreMap
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.units import format_bytes, format_cpu_list, format_duration, format_walltime

_DETECTED = (("numbering", "as if socket 0 came first; the job asks the node and corrects it"),)


def describe_job(plan: JobPlan) -> tuple[tuple[str, str], ...]:
    """What is decided and what follows from it, as label and text."""
    run = plan.run
    schedule = run.schedule
    epochs = run.total_steps / run.steps_per_epoch
    ranks = _plural(run.ranks_per_node, "rank")
    node_hours = plan.walltime_min / 60 * run.nodes
    return (
        ("system", plan.system.title),
        ("partition", f"{plan.partition.limits}, {_why(plan)}"),
        (
            "global batch",
            f"{_plural(run.nodes, 'node')} x {ranks} x {run.rank_batch} images "
            f"{f'x {run.accumulate} accumulated ' if run.accumulate > 1 else ''}"
            f"= {run.global_batch}",
        ),
        *((("model", run.model.label),) if run.model != ModelSpec() else ()),
        ("recipe", f"{run.recipe.name}: {run.recipe.title}"),
        ("updates", f"{run.total_steps}: {epochs:.4g} epochs of {run.steps_per_epoch:.6g}"),
        ("peak learning rate", f"{schedule.peak_lr:g}"),
        *_forecast(plan),
        ("wall time", f"{format_walltime(plan.walltime_min)}, at most {node_hours:.0f} node-hours"),
        ("data", _data(plan.request)),
        ("program", _program(plan)),
        *describe_cores(plan.core_map),
        *(_DETECTED if plan.system.node.numbering == "detect" else ()),
    )


def _data(request: JobRequest) -> str:
    if request.is_synthetic:
        return "synthetic images"
    return request.data or f"the folder that {DATA_VARIABLE} names when the job starts"


def _program(plan: JobPlan) -> str:
    packed = plan.packed
    if packed is None:
        return f"{plan.origin.hvdtrain}, from where it is installed"
    return (
        f"{packed.file}, {format_bytes(packed.size_bytes)}, unpacked on every node to "
        f"{plan.system.node.staging}: {format_bytes(packed.unpacked_bytes)}"
    )


def describe_cores(core_map: CoreMap) -> tuple[tuple[str, str], ...]:
    """The processor ids of every rank of a node, as label and text."""
    lines = []
    for local_rank, rank in enumerate(core_map.ranks):
        comm = format_cpu_list(rank.comm) or "with the compute threads"
        data = format_cpu_list(rank.data) if rank.comm else "with the compute threads"
        text = (
            f"compute {format_cpu_list(rank.compute)}; communication {comm}; "
            f"Horovod {rank.horovod}; data loading {data}"
        )
        lines.append((f"cores of rank {local_rank}", text))
    return tuple(lines)


def _why(plan: JobPlan) -> str:
    if plan.request.partition is not None:
        return "as asked"
    forecast = plan.forecast
    if plan.request.walltime is None and forecast and forecast.walltime_min > plan.walltime_min:
        return "the longest there is, and still too short"
    return "the first that the job fits into"


def _forecast(plan: JobPlan) -> tuple[tuple[str, str], ...]:
    forecast, step_time = plan.forecast, plan.system.step_time
    if forecast is None or step_time is None:
        return (("forecast", f"none: {why_no_forecast(plan.run, step_time)}"),)
    epoch, minutes = forecast.epoch_seconds, forecast.minutes_to_train
    speed = f"{forecast.images_per_second.value:.0f} images/s"
    longest = format_duration(minutes.high * 60)
    train = f"{format_duration(minutes.value * 60)}, at most {longest}"
    return (
        ("epoch time", f"{epoch.value:.1f} s ({epoch.low:.1f} to {epoch.high:.1f}), {speed}"),
        ("time to train", f"{train}; {forecast.node_hours.value:.0f} node-hours"),
        ("forecast", step_time.source),
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
