"""The page of one run: what it was, its curves, its ranks, its script and what ran."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvdtrain.collect.figures.curves import (
    make_loss_figure,
    make_rank_figure,
    make_throughput_figure,
    make_timeline,
)
from hvdtrain.collect.report.chart import Chart, make_chart
from hvdtrain.collect.report.core_map import CoreMapView, make_core_map_view
from hvdtrain.collect.report.grid import Grid
from hvdtrain.collect.report.run_details import (
    Details,
    plan_details,
    progress_details,
    record_details,
    version_details,
)
from hvdtrain.collect.report.run_grids import epochs_grid, ranks_grid, slow_grid
from hvdtrain.runs.metrics import Metrics, read_metrics
from hvdtrain.runs.names import SCRIPT_FILE
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete, Malformed, read_regular

_LONGEST_SCRIPT = 200_000


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
        details: What it was and how it went, as terms and texts.
        remarks: What a reader must know before believing the rest.
        charts: Loss, throughput, timeline, ranks; those that have points.
        grids: Epochs and ranks; those that have rows.
        core_map: None: no placement was recorded.
        versions: What ran; none where no record was left.
        script: Lines of the job's script; none where it was not kept.
    """

    name: str
    run_id: str
    label: str
    details: Details
    remarks: tuple[str, ...]
    charts: tuple[Chart, ...]
    grids: tuple[Grid, ...]
    core_map: CoreMapView | None
    versions: Details
    script: tuple[str, ...]


def make_run_page(
    run: Record | Incomplete, results: Path, name: str, label: str, limits: Limits
) -> RunPage:
    """Read what a run left besides its record, and lay it out.

    Args:
        run: Its record, or its plan.
        results: Folder of all runs.
        name: Id in the page.
        label: As in the table of all runs.
        limits: How much is shown.
    """
    folder = results / run.run_id
    metrics = read_metrics(folder)
    record = None if isinstance(run, Incomplete) else run
    placement = record.placement if record else ()
    grids = (
        epochs_grid(record.epochs if record else (), name, run.plan, limits.epochs),
        slow_grid(record.epochs if record else (), name, limits.epochs),
        ranks_grid(placement, name),
    )
    outcome = progress_details(metrics) if isinstance(run, Incomplete) else record_details(run)
    script, script_remark = _read_script(folder / SCRIPT_FILE)
    return RunPage(
        name=name,
        run_id=run.run_id,
        label=label,
        details=(*plan_details(run.plan), *outcome),
        remarks=tuple(filter(None, (*_metrics_remarks(metrics), script_remark))),
        charts=_charts(run, metrics, name, limits.points),
        grids=tuple(grid for grid in grids if grid.rows),
        core_map=make_core_map_view(placement),
        versions=version_details(record) if record else (),
        script=script,
    )


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
        make_rank_figure(run.rank_seconds if isinstance(run, Record) else (), points),
    )
    return tuple(
        make_chart(figure, f"{name}-figure-{number}")
        for number, figure in enumerate(figures, start=1)
        if not figure.is_empty
    )


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
