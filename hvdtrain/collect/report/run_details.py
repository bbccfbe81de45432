"""What a run was and how it went, as terms and texts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.names import name_some
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.metrics import Metrics
from hvdtrain.runs.record import Record
from hvdtrain.units import format_duration

Details = tuple[tuple[str, str], ...]
_SHOWN_HOSTS = 4


def plan_details(plan: RunPlan) -> Details:
    """What the run was to be."""
    accumulated = f" x {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    return (
        ("System", plan.system),
        ("Ranks", f"{plan.ranks}; nodes: {plan.nodes}, ranks on each: {plan.ranks_per_node}"),
        (
            "Global batch",
            f"{plan.global_batch} images: {plan.ranks} x {plan.rank_batch}{accumulated}",
        ),
        ("Recipe", f"{plan.recipe.name}: {plan.recipe.title}"),
        *_schedule_details(plan),
        ("Optimizer", str(plan.recipe.optimizer.__struct_config__.tag)),
        (
            "Network",
            f"{plan.model.name} {plan.model.version}, {plan.model.image_size} pixels, "
            f"{plan.model.classes} classes, {plan.model.precision}",
        ),
        (
            "Images",
            f"{plan.source.kind}{' in ' + plan.source.path if plan.source.path else ''}: "
            f"{plan.dataset.train_images} for training, {plan.dataset.validation_images} for "
            "validation",
        ),
        *((("Data fingerprint", plan.dataset.fingerprint),) if plan.dataset.fingerprint else ()),
        ("Seed", str(plan.seed)),
    )


def _schedule_details(plan: RunPlan) -> Details:
    try:
        schedule = plan.schedule
    except InputError as error:
        return (("Planned", f"a recipe that cannot be followed: {error.field}: {error.allowed}"),)
    epochs = schedule.steps / plan.steps_per_epoch
    stop = plan.stop_after_steps
    early = f", stopped after {stop}" if stop is not None and stop < schedule.steps else ""
    return (
        ("Planned", f"{epochs:.4g} epochs, {schedule.steps} updates{early}"),
        ("Peak learning rate", f"{schedule.peak_lr:g}"),
    )


def record_details(record: Record) -> Details:
    """How the run went; what its record does not have is left out."""
    evaluations = [epoch.evaluation for epoch in record.epochs if epoch.evaluation]
    details: list[tuple[str, str | None]] = [
        ("Ended", record.status),
        ("Failure", record.failure),
        ("Started", record.started),
        ("Wall time", format_duration(record.seconds)),
        ("Updates", str(record.steps)),
        ("Images per second", _digits(record.images_per_second)),
        ("Seconds per update", _digits(record.seconds_per_step)),
        ("Share of the allreduce", _percent(record.allreduce_share)),
        ("Top-1", _percent(evaluations[-1].top1) if evaluations else None),
        ("Top-5", _percent(evaluations[-1].top5) if evaluations else None),
        ("Best top-1", _percent(max(e.top1 for e in evaluations)) if evaluations else None),
        ("Reduction", record.reduction),
        ("Nodes", name_hosts(record.hosts)),
        ("Slurm job", record.slurm_job_id),
        ("Continued at update", ", ".join(map(str, record.resumed_at))),
        ("Images that could not be decoded", str(record.corrupt_images or "")),
        ("Weights, SHA-256", record.weights_sha256),
    ]
    return tuple((term, text) for term, text in details if text)


def progress_details(metrics: Metrics) -> Details:
    """How far a run without a record has come."""
    if not metrics.steps:
        return (("Progress", "no update is on record"),)
    last = metrics.steps[-1]
    details = [("Progress", f"update {last.step}, in epoch {last.epoch}")]
    if last.loss is not None:
        details.append(("Last training loss", f"{last.loss:.4f}"))
    if metrics.evaluations and metrics.evaluations[-1].top1 is not None:
        details.append(("Last top-1", _percent(metrics.evaluations[-1].top1) or ""))
    return (*details, ("Training for", format_duration(last.seconds)))


def version_details(record: Record) -> Details:
    """What ran, by package; what was not installed is left out."""
    versions = msgspec.structs.asdict(record.versions)
    details = [(name, text) for name, text in versions.items() if text is not None]
    if record.git_commit:
        details.append(("git commit", record.git_commit))
    return tuple(details)


def _digits(value: float | None) -> str | None:
    """Four digits, or all of a whole number."""
    if value is None:
        return None
    return f"{value:.0f}" if 1000 <= value < 1e9 else f"{value:.4g}"


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:.2f} %"


def name_hosts(hosts: Sequence[str]) -> str:
    """All of a few nodes; of many the first ones, and how many more."""
    return name_some(list(dict.fromkeys(hosts)), _SHOWN_HOSTS)
