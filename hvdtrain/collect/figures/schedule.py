"""The figure of a schedule, as the paper's Figures 3 and 4 show theirs."""

from __future__ import annotations

import dataclasses
import itertools

from hvdtrain.collect.figures.model import Figure, Panel, Point, Series, Strip
from hvdtrain.collect.paper.points import FigureNumber, load_paper_figure
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.recipe import Recipe, make_schedule
from hvdtrain.plan.method.run_plan import steps_in_epoch
from hvdtrain.plan.method.schedule import Schedule, Segment

# Points of a curve: more than a page has pixels across.
_POINTS = 2000

# The recipes that repeat the paper's drawings.
_DRAWN: dict[str, FigureNumber] = {"large-batch-107": 3, "collapsed-ensemble-120": 4}


def make_paper_schedule_figure(recipe: Recipe, global_batch: int) -> Figure:
    """The schedule of a recipe on ImageNet, and what the paper's text says of its drawing of it.

    Raises:
        InputError: The batch exceeds ImageNet, or a phase is shorter than a step.
    """
    steps_per_epoch = steps_in_epoch(IMAGENET_TRAIN_IMAGES, global_batch)
    schedule = make_schedule(recipe, global_batch, steps_per_epoch)
    title = f"{recipe.title}\nglobal batch {global_batch}"
    figure = make_schedule_figure(schedule, steps_per_epoch, title)
    number = _DRAWN.get(recipe.name)
    points = _paper_points(number, schedule.peak_lr) if number else ()
    if not points:
        return figure
    series = Series(label=f"paper, text on Fig. {number}", points=points, style="marks")
    panel = figure.panels[0]
    panel = dataclasses.replace(panel, series=(*panel.series, series))
    return dataclasses.replace(figure, panels=(panel,))


def _paper_points(number: FigureNumber, peak_lr: float) -> tuple[Point, ...]:
    factors = {"learning_rate": 1.0, "peak_share": peak_lr}
    return tuple(
        (point.x, point.y * factors[series.values.quantity])
        for series in load_paper_figure(number).series
        if series.values.quantity in factors
        for point in series.point
    )


def make_schedule_figure(schedule: Schedule, steps_per_epoch: float, title: str) -> Figure:
    """The learning rate over the epochs, coloured by weight decay.

    A strip below says where scale and aspect augmentation is on; marks on the curve are the
    snapshots. Source of the layout: Fig. 3 and Fig. 4.
    """
    decays = list(dict.fromkeys(segment.weight_decay for segment in schedule.segments))
    every = max(1, schedule.steps // _POINTS)
    series: list[Series] = []
    marks: list[Point] = []
    spans: list[Point] = []
    labelled: set[float] = set()
    for first, segment in _with_first_steps(schedule):
        decay = segment.weight_decay
        # The step after the last is where the next segment begins: the line has no holes.
        steps = [*range(0, segment.steps, every), segment.steps]
        rates = (segment.learning_rate(step) for step in steps)
        epochs = ((first + step) / steps_per_epoch for step in steps)
        series.append(
            Series(
                label="" if decay in labelled else f"weight decay {decay:g}",
                points=tuple(zip(epochs, rates, strict=True)),
                colour=decays.index(decay),
            )
        )
        labelled.add(decay)
        if segment.augment:
            spans.append((first / steps_per_epoch, segment.steps / steps_per_epoch))
        if segment.snapshot:
            marks.append(((first + segment.steps) / steps_per_epoch, segment.curve.end_lr))
    if marks:
        series.append(Series(label="snapshot", points=tuple(marks), style="marks"))
    return Figure(
        title=title,
        description=_describe(schedule, steps_per_epoch),
        x_label="epoch",
        panels=(Panel(y_label="learning rate", series=tuple(series), from_zero=True),),
        strips=(Strip(label="scale and aspect augmentation", spans=tuple(spans)),),
    )


def _with_first_steps(schedule: Schedule) -> list[tuple[int, Segment]]:
    lengths = (segment.steps for segment in schedule.segments)
    firsts = itertools.accumulate(lengths, initial=0)
    return list(zip(firsts, schedule.segments, strict=False))


def _describe(schedule: Schedule, steps_per_epoch: float) -> str:
    text = (
        f"{schedule.steps / steps_per_epoch:.4g} epochs, {schedule.steps} updates; "
        f"highest learning rate {schedule.peak_lr:g}"
    )
    if schedule.snapshots:
        ends = ", ".join(f"{step / steps_per_epoch:.4g}" for step in schedule.snapshots)
        text += f"; snapshots at epochs {ends}"
    return text + "."
