"""Top-1 accuracy over the epochs, with what the paper reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.collect.figures.model import Figure, Panel, Point, Series
from hvdtrain.collect.paper.points import load_paper_figure
from hvdtrain.collect.paper.tables import TABLES, load_paper_table
from hvdtrain.collect.runs import make_run
from hvdtrain.runs.metrics import read_metrics
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete

MOST_RUNS = 8
"""A drawing has this many colours that can be told apart."""


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """The evaluations of a run.

    Attributes:
        name: The run's id, for the legend.
        label: Measured, incomplete, and so on.
        points: Epoch, and percent of the validation images whose first guess was right.
    """

    name: str
    label: str
    points: tuple[Point, ...]


def read_accuracies(results: Path, found: Iterable[Record | Incomplete]) -> list[Accuracies]:
    """The evaluations of the runs on real images: a guess of what was made up is no accuracy."""
    pairs = ((make_run(one), one) for one in found)
    return [
        Accuracies(name=run.run_id, label=run.label, points=_points(results, one))
        for run, one in pairs
        if run.kind == "measured"
    ]


def _points(results: Path, found: Record | Incomplete) -> tuple[Point, ...]:
    """From the metrics, where no record was left."""
    if isinstance(found, Incomplete):
        per_epoch = found.plan.steps_per_epoch
        return tuple(
            (line.step / per_epoch, 100 * line.top1)
            for line in read_metrics(results / found.run_id).evaluations
            if line.top1 is not None
        )
    return tuple(
        (float(epoch.epoch), 100 * epoch.evaluation.top1)
        for epoch in found.epochs
        if epoch.evaluation is not None
    )


def make_accuracy_figure(runs: Sequence[Accuracies]) -> Figure:
    """Top-1 of the runs with the highest accuracy, over the paper's values."""
    evaluated = [run for run in runs if run.points]
    shown = sorted(evaluated, key=lambda run: -max(y for _, y in run.points))[:MOST_RUNS]
    own = [
        Series(
            label=f"{run.name} ({run.label})", points=run.points, style="line-marks", colour=number
        )
        for number, run in enumerate(shown)
    ]
    return Figure(
        title="Top-1 accuracy, over the paper's",
        description=_describe(shown, len(evaluated)),
        x_label="epoch",
        panels=(Panel(y_label="top-1, %", series=(*_paper_series(), *own)),),
    )


def _paper_series() -> list[Series]:
    """At the end of the runs of its tables, and along the ensemble of its Figure 4."""
    ends = tuple(
        (float(row.epochs), row.top1_percent)
        for table in map(load_paper_table, TABLES)
        for row in table.row
        if row.epochs is not None and row.top1_percent is not None
    )
    drawn = [
        Series(
            label=f"paper, Fig. 4: {series.name}",
            points=tuple((point.x, point.y) for point in series.point),
            style="marks",
        )
        for series in load_paper_figure(4).series
        if series.values.quantity == "top1_percent"
    ]
    return [
        Series(label="paper, ends of the runs in its tables", points=ends, style="marks"),
        *drawn,
    ]


def _describe(shown: Sequence[Accuracies], evaluated: int) -> str:
    if not shown:
        return "Only the paper's points: no run on real images has an evaluation."
    best = max(y for _, y in shown[0].points)
    text = f"Highest: {best:.2f} % by {shown[0].name} ({shown[0].label})."
    if evaluated > len(shown):
        text += f" The {len(shown)} most accurate of {evaluated} runs are drawn."
    return text
