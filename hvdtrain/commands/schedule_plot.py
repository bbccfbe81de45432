"""The drawing of `hvdtrain schedule --plot`. The only module that imports matplotlib for it."""

from __future__ import annotations

import itertools
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hvdtrain.errors import InputError
from hvdtrain.plan.schedule import Schedule

# Points of a curve: more than a page has pixels across.
_POINTS = 2000
_COLOURS = ("#1f77b4", "#2ca02c", "#ff7f0e", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf")


def plot_schedule(schedule: Schedule, steps_per_epoch: int, title: str, path: Path) -> None:
    """Draw the learning rate over the epochs into a file, coloured by weight decay.

    A strip below says where scale and aspect augmentation is on; marks on the curve are the
    snapshots. Source of the layout: Fig. 3 and Fig. 4.

    Raises:
        InputError: The file cannot be written, or its name has no known ending.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    known = sorted(canvas.get_supported_filetypes())
    if path.suffix[1:] not in known:
        raise InputError("--plot", str(path), f"a file ending in one of {', '.join(known)}")
    rates, strip = figure.subplots(2, 1, sharex=True, height_ratios=(12, 1))
    rates.set_title(title, fontsize="medium")
    _draw_rates(rates, schedule, steps_per_epoch)
    _draw_augmentation(strip, schedule, steps_per_epoch)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("--plot", str(path), f"a file that can be written: {reason}") from None


def _draw_rates(axes: Axes, schedule: Schedule, steps_per_epoch: int) -> None:
    decays = list(dict.fromkeys(segment.weight_decay for segment in schedule.segments))
    colour_of = dict(zip(decays, itertools.cycle(_COLOURS), strict=False))
    every = max(1, schedule.steps // _POINTS)
    labelled: set[float] = set()
    marks: list[tuple[float, float]] = []
    first = 0
    for segment in schedule.segments:
        # The step after the last is where the next segment begins: the line has no holes.
        steps = [*range(0, segment.steps, every), segment.steps]
        decay = segment.weight_decay
        axes.plot(
            [(first + step) / steps_per_epoch for step in steps],
            [segment.learning_rate(step) for step in steps],
            color=colour_of[decay],
            label=None if decay in labelled else f"weight decay {decay:g}",
            linewidth=2,
        )
        labelled.add(decay)
        first += segment.steps
        if segment.snapshot:
            marks.append((first / steps_per_epoch, segment.curve.end_lr))
    if marks:
        axes.plot(*zip(*marks, strict=True), "ko", label="snapshot", markersize=5)
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, schedule.steps / steps_per_epoch)
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_augmentation(axes: Axes, schedule: Schedule, steps_per_epoch: int) -> None:
    spans = []
    first = 0
    for segment in schedule.segments:
        if segment.augment:
            spans.append((first / steps_per_epoch, segment.steps / steps_per_epoch))
        first += segment.steps
    axes.broken_barh(spans, (0, 1), color="0.6")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(
        "scale and aspect\naugmentation", rotation=0, ha="right", va="center", fontsize="small"
    )
    axes.set_xlabel("epoch")
