"""The page of one run: what it was, its curves, its ranks, its script and what ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.collect.figures.curves import (
    make_loss_figure,
    make_throughput_figure,
    make_timeline,
)
from hvdtrain.collect.metrics import Metrics, read_metrics
from hvdtrain.collect.report.chart import Chart, make_chart
from hvdtrain.collect.report.coremap import CoreMapView, make_core_map_view
from hvdtrain.collect.report.grid import Cell, Column, Grid
from hvdtrain.collect.store import Incomplete, Malformed, read_regular
from hvdtrain.errors import InputError
from hvdtrain.plan.record import SCRIPT_FILE, EpochResult, RankPlacement, Record
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.units import format_cpu_list, format_duration

_LONGEST_SCRIPT = 200_000
_SHOWN_HOSTS = 4
Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a run is shown, so that a page of a thousand runs can still be opened.

    Attributes:
        points: Most points of a curve.
        epochs: Most rows of the table of epochs.
    """

    points: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What the report shows of a run.

    Attributes:
        name: Its id in the page.
        run_id: Its folder.
        label: Measured, synthetic, incomplete and so on.
        facts: What it was and how it went, as terms and texts.
        remarks: What a reader must know before believing the rest.
        charts: Loss, throughput, timeline; those that have points.
        grids: Epochs and ranks; those that have rows.
        core_map: None: no placement was recorded.
        versions: What ran; none where no record was left.
        script: Lines of the job's script; none where it was not kept.
    """

    name: str
    run_id: str
    label: str
    facts: Facts
    remarks: tuple[str, ...]
    charts: tuple[Chart, ...]
    grids: tuple[Grid, ...]
    core_map: CoreMapView | None
    versions: Facts
    script: tuple[str, ...]


def make_run_page(
    run: Record | Incomplete, results: Path, name: str, label: str, limits: Limits
) -> RunPage:
    """Read what a run left besides its record, and lay it out.

    Args:
        run: Its record, or its plan.
        results: The folder of all runs.
        name: Id in the page.
        label: As in the table of all runs.
        limits: How much is shown.
    """
    folder = results / run.run_id
    metrics = read_metrics(folder)
    record = None if isinstance(run, Incomplete) else run
    placement = record.placement if record else ()
    grids = (
        _epochs_grid(record.epochs if record else (), name, run.plan, limits.epochs),
        _ranks_grid(placement, name),
    )
    outcome = _progress(metrics) if isinstance(run, Incomplete) else _record_facts(run)
    script, script_remark = _read_script(folder / SCRIPT_FILE)
    return RunPage(
        name=name,
        run_id=run.run_id,
        label=label,
        facts=(*_plan_facts(run.plan), *outcome),
        remarks=tuple(filter(None, (*_metrics_remarks(metrics), script_remark))),
        charts=_charts(run, metrics, name, limits.points),
        grids=tuple(grid for grid in grids if grid.rows),
        core_map=make_core_map_view(placement),
        versions=_version_facts(record) if record else (),
        script=script,
    )


def _plan_facts(plan: RunPlan) -> Facts:
    accumulated = f" x {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    return (
        ("System", plan.system),
        ("Ranks", f"{plan.ranks}: {plan.ranks_per_node} on each of {plan.nodes} nodes"),
        (
            "Global batch",
            f"{plan.global_batch}: {plan.ranks} ranks x {plan.rank_batch} images{accumulated}",
        ),
        ("Recipe", f"{plan.recipe.name}: {plan.recipe.title}"),
        *_schedule_facts(plan),
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


def _schedule_facts(plan: RunPlan) -> Facts:
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


def _record_facts(record: Record) -> Facts:
    evaluations = [epoch.evaluation for epoch in record.epochs if epoch.evaluation]
    facts: list[tuple[str, str | None]] = [
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
        ("Nodes", _hosts(record.hosts)),
        ("Slurm job", record.slurm_job_id),
        ("Continued at update", ", ".join(map(str, record.resumed_at))),
        ("Images that could not be decoded", str(record.corrupt_images or "")),
        ("Weights, SHA-256", record.weights_sha256),
    ]
    return tuple((term, text) for term, text in facts if text)


def _progress(metrics: Metrics) -> Facts:
    if not metrics.steps:
        return (("Progress", "no update is on record"),)
    last = metrics.steps[-1]
    facts = [("Progress", f"update {last.step}, in epoch {last.epoch}")]
    if last.loss is not None:
        facts.append(("Last training loss", f"{last.loss:.4f}"))
    if metrics.evaluations and metrics.evaluations[-1].top1 is not None:
        facts.append(("Last top-1", _percent(metrics.evaluations[-1].top1) or ""))
    return (*facts, ("Training for", format_duration(last.seconds)))


def _metrics_remarks(metrics: Metrics) -> list[str]:
    remarks = []
    if metrics.reason:
        remarks.append(f"metrics.jsonl cannot be read: {metrics.reason}")
    if metrics.unreadable:
        remarks.append(f"{metrics.unreadable} lines of metrics.jsonl cannot be read")
    return remarks


def _charts(
    run: Record | Incomplete, metrics: Metrics, name: str, points: int
) -> tuple[Chart, ...]:
    figures = (
        make_loss_figure(metrics, run.plan, points),
        make_throughput_figure(metrics, run.plan, points),
        make_timeline(metrics, "Where the wall time went", points),
    )
    return tuple(
        make_chart(figure, f"{name}-figure-{number}")
        for number, figure in enumerate(figures, start=1)
        if not figure.is_empty
    )


def _epochs_grid(epochs: Sequence[EpochResult], name: str, plan: RunPlan, limit: int) -> Grid:
    every = -(-len(epochs) // limit) or 1
    # Counted from the end: the last epoch is the one that matters.
    shown = epochs[::-1][::every][::-1]
    caption = "Epochs" if every == 1 else f"Every {every}th epoch, to the last"
    headings = (
        *("epoch", "updates", "seconds", "images/s", "training loss", "learning rate"),
        *("top-1, %", "top-5, %", "evaluation loss", "evaluation seconds"),
    )
    return Grid(
        name=f"{name}-epochs",
        caption=f"{caption}. Seconds are those of training, without the evaluation.",
        columns=tuple(Column(heading=heading, number=True) for heading in headings),
        rows=tuple(tuple(_epoch_cells(epoch, plan)) for epoch in shown),
    )


def _epoch_cells(epoch: EpochResult, plan: RunPlan) -> Iterable[Cell]:
    evaluation = epoch.evaluation
    speed = epoch.steps * plan.global_batch / epoch.seconds if epoch.seconds else None
    yield from (_plain(str(epoch.epoch)), _plain(str(epoch.steps)))
    for value, form in (
        (epoch.seconds, ".1f"),
        (speed, ".1f"),
        (epoch.training_loss, ".4f"),
        (epoch.learning_rate, ".5g"),
        (100 * evaluation.top1 if evaluation else None, ".2f"),
        (100 * evaluation.top5 if evaluation else None, ".2f"),
        (evaluation.loss if evaluation else None, ".4f"),
        (epoch.evaluation_seconds if evaluation else None, ".1f"),
    ):
        yield _plain("" if value is None else format(value, form))


def _plain(text: str) -> Cell:
    return Cell(text=text)


def _ranks_grid(placement: Sequence[RankPlacement], name: str) -> Grid:
    """Ranks with the same processors are one row: a thousand nodes are the same."""
    groups: dict[tuple[str, str, str], list[RankPlacement]] = {}
    for rank in placement:
        key = (rank.compute, rank.communication, rank.data)
        groups.setdefault(key, []).append(rank)
    headings = ("ranks", "nodes", "compute", "communication", "data")
    return Grid(
        name=f"{name}-ranks",
        caption="Where the threads of the ranks were allowed to run, read back from the kernel.",
        columns=tuple(Column(heading=heading) for heading in headings),
        rows=tuple(
            tuple(map(_plain, (_ranks(ranks), _hosts([rank.host for rank in ranks]), *processors)))
            for processors, ranks in groups.items()
        ),
    )


def _ranks(ranks: Sequence[RankPlacement]) -> str:
    return format_cpu_list({rank.rank for rank in ranks})


def _hosts(hosts: Sequence[str]) -> str:
    """All of a few nodes; of many the first ones, and how many more."""
    names = list(dict.fromkeys(hosts))
    shown = ", ".join(names[:_SHOWN_HOSTS])
    more = len(names) - _SHOWN_HOSTS
    return f"{shown} and {more} more" if more > 0 else shown


def _version_facts(record: Record) -> Facts:
    versions = msgspec.structs.asdict(record.versions)
    facts = [(name, text) for name, text in versions.items() if text is not None]
    if record.git_commit:
        facts.append(("git commit", record.git_commit))
    return tuple(facts)


def _read_script(path: Path) -> tuple[tuple[str, ...], str]:
    """The lines of the job's script; or none, and why it is not shown."""
    try:
        data = read_regular(path)
    except FileNotFoundError:
        return (), ""
    except OSError as error:
        return (), f"{SCRIPT_FILE} cannot be read: {error.strerror}"
    if isinstance(data, Malformed):
        return (), f"{SCRIPT_FILE} cannot be read: {data.reason}"
    if len(data) > _LONGEST_SCRIPT:
        return (), f"{SCRIPT_FILE} is too long to be shown: {len(data)} bytes"
    return tuple(data.decode(errors="replace").expandtabs().splitlines()), ""


def _digits(value: float | None) -> str | None:
    """Four digits, or all of a whole number."""
    if value is None:
        return None
    return f"{value:.0f}" if 1000 <= value < 1e9 else f"{value:.4g}"


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:.2f} %"
