"""Figures drawn into files. The only module that imports matplotlib."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter

from hvdtrain.collect.figures.model import Figure, Panel, Scale, Series, Strip, clean
from hvdtrain.errors import InputError
from hvdtrain.files.atomic import write_output

_COLOURS = ("#1f77b4", "#2ca02c", "#ff7f0e", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf")
_MARKERS = "osD^vPX*"
_NEUTRAL = ("0.35", "0.55", "0.2", "0.65")
_PANEL_INCHES = 4.2
_STRIP_INCHES = 0.45


def write_figure(figure: Figure, path: Path, option: str) -> None:
    """Draw a figure into a file of the kind that its name ends in, whole or not at all.

    Args:
        figure: Panels, series and labels.
        path: Its ending is that of a picture: .png, .svg, .pdf.
        option: Option that named the path, for messages.

    Raises:
        InputError: The file cannot be written, or its name has no known ending.
    """
    known = sorted(FigureCanvasAgg(Drawing()).get_supported_filetypes())
    if path.suffix[1:] not in known:
        raise InputError(option, str(path), f"a file ending in one of {', '.join(known)}")
    content = io.BytesIO()
    # Names come from records: a dollar sign in one begins no formula.
    with mpl.rc_context({"text.parse_math": False}):
        _draw(figure).savefig(content, format=path.suffix[1:], dpi=150)
    write_output(path, content.getvalue(), option)


def _draw(figure: Figure) -> Drawing:
    rows = len(figure.panels) + len(figure.strips)
    heights = [_PANEL_INCHES] * len(figure.panels) + [_STRIP_INCHES] * len(figure.strips)
    drawing = Drawing(figsize=(9, 0.8 + sum(heights)), layout="constrained")
    FigureCanvasAgg(drawing)
    grid = drawing.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights)
    axes: list[Axes] = list(grid[:, 0])
    for axis, panel in zip(axes, figure.panels, strict=False):
        _draw_panel(axis, panel, figure.x_scale)
    for axis, strip in zip(axes[len(figure.panels) :], figure.strips, strict=True):
        _draw_strip(axis, strip)
    axes[0].set_title(figure.title, fontsize="medium")
    axes[-1].set_xlabel(figure.x_label)
    if figure.x_scale == "log2":
        _set_log2(axes[0], "x")
    else:
        axes[0].margins(x=0.01)
    return drawing


def _draw_panel(axes: Axes, panel: Panel, x_scale: Scale) -> None:
    neutral = 0
    for series in panel.series:
        points = clean(series.points, x_scale, panel.y_scale)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            label=series.label or None,
            **_look(series, neutral),
        )
        neutral += series.colour is None
    if panel.y_scale == "log2":
        _set_log2(axes, "y")
    elif panel.from_zero:
        axes.set_ylim(bottom=0)
    axes.set_ylabel(panel.y_label)
    axes.grid(alpha=0.3)
    if any(series.label for series in panel.series):
        axes.legend(fontsize="small")


def _look(series: Series, neutral: int) -> dict[str, Any]:
    """What matplotlib calls it."""
    number = neutral if series.colour is None else series.colour
    colours = _NEUTRAL if series.colour is None else _COLOURS
    look: dict[str, Any] = {"color": colours[number % len(colours)], "linewidth": 2}
    if series.style == "dashed":
        look |= {"linestyle": "--", "linewidth": 1.2}
    elif series.style == "marks":
        look |= {"linestyle": "none"}
    if series.style in ("marks", "line-marks"):
        look |= {"marker": _MARKERS[number % len(_MARKERS)], "markersize": 5}
    if series.colour is None:
        # Hollow, and thin, so that a user's own points show through.
        look |= {"markerfacecolor": "none", "linewidth": 1.2}
    return look


def _draw_strip(axes: Axes, strip: Strip) -> None:
    axes.broken_barh(list(strip.spans), (0, 1), color="0.6")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(
        textwrap.fill(strip.label, 18),
        rotation=0,
        ha="right",
        va="center",
        fontsize="small",
    )


def _set_log2(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=2)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
