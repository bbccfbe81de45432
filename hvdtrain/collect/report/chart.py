"""Figures as SVG: where every line and mark is on the page. The template only writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hvdtrain.collect.figures.model import Figure, Panel, Point, Series, clean
from hvdtrain.collect.report.axis import Axis, format_tick, make_axis

WIDTH = 440
"""Units of the drawing; about as many pixels as a phone has across."""

COLOURS = 8
"""Colours of the style sheet, `c0` to `c7`."""

_LEFT, _RIGHT, _TOP = 52, 12, 26
_PANEL, _PANEL_OF_TWO = 190, 150
_BETWEEN, _STRIP, _BOTTOM = 28, 30, 36
# Marks of a longer series are too close together to be pointed at.
_NAMED_MARKS = 60
_SIZE = 3.6
_SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A tick: its place in units of the drawing, and its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point: the outline of its mark, and what it says when pointed at; empty: nothing."""

    outline: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series.

    Attributes:
        look: Classes of the style sheet.
        path: What the line follows; empty: no line.
        marks: Its points; none: a line without marks.
    """

    look: str
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class PanelView:
    """A panel in units of the drawing."""

    top: float
    height: float
    label: str
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class StripView:
    """A strip: its label, and the beginnings and widths of its spans."""

    top: float
    label: str
    spans: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Legend:
    """An entry of the legend: the look of its series, its mark around (15, 6), and its text."""

    look: str
    path: str
    outline: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure in units of the drawing; `name` is its id in the page."""

    name: str
    title: str
    description: str
    height: float
    left: float
    right: float
    x_label: str
    x_ticks: tuple[Tick, ...]
    panels: tuple[PanelView, ...]
    strips: tuple[StripView, ...]
    legend: tuple[Legend, ...]


def make_chart(figure: Figure, name: str) -> Chart:
    """The drawing of a figure.

    Args:
        figure: Panels, series and labels.
        name: Its id in the page.
    """
    x_axis = _x_axis(figure)
    height = _PANEL if len(figure.panels) == 1 else _PANEL_OF_TWO
    tops = [_TOP + number * (height + _BETWEEN) for number in range(len(figure.panels))]
    below = tops[-1] + height
    strips = tuple(
        StripView(
            top=below + 22 + number * _STRIP,
            label=strip.label,
            spans=tuple(_span(x_axis, span) for span in strip.spans),
        )
        for number, strip in enumerate(figure.strips)
    )
    return Chart(
        name=name,
        title=", ".join(figure.title.splitlines()),
        description=figure.description,
        height=below + _STRIP * len(strips) + _BOTTOM,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        x_label=figure.x_label,
        x_ticks=tuple(
            Tick(at=_across(x_axis, value), label=format_tick(value)) for value in x_axis.ticks()
        ),
        panels=tuple(
            _panel(panel, x_axis, top, height)
            for panel, top in zip(figure.panels, tops, strict=True)
        ),
        strips=strips,
        legend=tuple(
            _legend(series, look)
            for panel in figure.panels
            for series, look in zip(panel.series, _looks(panel), strict=True)
            if series.label
        ),
    )


def _x_axis(figure: Figure) -> Axis:
    values = [
        x
        for panel in figure.panels
        for series in panel.series
        for x, _ in clean(series.points, figure.x_scale, panel.y_scale)
    ]
    values += [
        end for strip in figure.strips for x, length in strip.spans for end in (x, x + length)
    ]
    return make_axis(values, figure.x_scale, room=0.02)


def _panel(panel: Panel, x_axis: Axis, top: float, height: float) -> PanelView:
    drawn = [clean(series.points, x_axis.scale, panel.y_scale) for series in panel.series]
    values = [y for points in drawn for _, y in points]
    y_axis = make_axis(values, panel.y_scale, from_zero=panel.from_zero)

    def up(value: float) -> float:
        return round(top + height * (1 - y_axis.place(value)), 1)

    return PanelView(
        top=top,
        height=height,
        label=panel.y_label,
        ticks=tuple(Tick(at=up(value), label=format_tick(value)) for value in y_axis.ticks()),
        lines=tuple(
            _line(series, look, points, [(_across(x_axis, x), up(y)) for x, y in points])
            for series, look, points in zip(panel.series, _looks(panel), drawn, strict=True)
        ),
    )


def _line(series: Series, look: str, points: Sequence[Point], places: Sequence[Point]) -> Line:
    marks: tuple[Mark, ...] = ()
    if series.style in ("marks", "line-marks"):
        shape = _shape(look)
        named = len(points) <= _NAMED_MARKS
        marks = tuple(
            Mark(
                outline=_outline(shape, *place),
                says=f"{series.label}: {x:.6g}, {y:.6g}".removeprefix(": ") if named else "",
            )
            for (x, y), place in zip(points, places, strict=True)
        )
    path = "" if series.style == "marks" else "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
    return Line(look=look, path=path if places else "", marks=marks)


def _looks(panel: Panel) -> list[str]:
    """The classes of each series: neutral ones differ by their marks, the others by colour too."""
    looks = []
    neutral = 0
    for series in panel.series:
        if series.colour is None:
            look = f"neutral m{neutral % len(_SHAPES)}"
            neutral += series.style in ("marks", "line-marks")
        else:
            number = series.colour % COLOURS
            look = f"c{number} m{number % len(_SHAPES)}"
        looks.append(f"{look} dashed" if series.style == "dashed" else look)
    return looks


def _legend(series: Series, look: str) -> Legend:
    marked = series.style in ("marks", "line-marks")
    return Legend(
        look=look,
        path="" if series.style == "marks" else "M2 6L28 6",
        outline=_outline(_shape(look), 15, 6) if marked else "",
        text=series.label,
    )


def _shape(look: str) -> str:
    return _SHAPES[int(look.partition(" m")[2][0])]


def _outline(shape: str, x: float, y: float) -> str:
    """The path of a mark around a point."""
    size = _SIZE
    match shape:
        case "circle":
            arc = f"a{size:g} {size:g} 0 1 0"
            return f"M{x - size:g} {y:g}{arc} {2 * size:g} 0{arc} {-2 * size:g} 0z"
        case "square":
            return f"M{x - 3:g} {y - 3:g}h6v6h-6z"
        case "diamond":
            return f"M{x:g} {y - 4.4:g}l4.4 4.4-4.4 4.4-4.4-4.4z"
        case _:
            return f"M{x:g} {y - 4.2:g}l4 7.2h-8z"


def _across(axis: Axis, value: float) -> float:
    return round(_LEFT + (WIDTH - _RIGHT - _LEFT) * axis.place(value), 1)


def _span(axis: Axis, span: Point) -> Point:
    """A span's beginning and width in the drawing; wide enough to be seen."""
    begin = _across(axis, span[0])
    return begin, round(max(_across(axis, span[0] + span[1]) - begin, 0.8), 1)
