"""What a figure is: panels over one horizontal axis, with series of points and strips of spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Style = Literal["line", "dashed", "marks", "line-marks"]
Scale = Literal["linear", "log2"]

# Beyond this, axes and their labels make no sense, and differences of two values overflow.
_LARGEST = 1e100


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one kind.

    Attributes:
        label: Its entry in the legend; empty: it continues a series that has one.
        points: Horizontal and vertical values, in the order in which a line joins them.
        style: How points are joined and marked.
        colour: Number of a colour, counted from 0, which a drawing takes in turn; None: neutral,
            as all that is the paper's or ideal, so that it stays behind a user's own.
    """

    label: str
    points: tuple[Point, ...]
    style: Style = "line"
    colour: int | None = None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A vertical axis with what is drawn over it.

    Attributes:
        y_label: Quantity and unit.
        series: In the order of drawing.
        y_scale: `linear` or `log2`, of the vertical axis.
        from_zero: Whether the axis begins at 0.
    """

    y_label: str
    series: tuple[Series, ...]
    y_scale: Scale = "linear"
    from_zero: bool = False


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Where along the horizontal axis something was so.

    Attributes:
        label: What the spans are, for the legend.
        spans: Beginnings and lengths, in units of the horizontal axis.
    """

    label: str
    spans: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure.

    Attributes:
        title: Heading over the figure.
        description: The same for those who do not see it, with its main values; may be longer.
        x_label: Quantity and unit of the horizontal axis.
        panels: From top to bottom.
        strips: Below the panels.
        x_scale: `linear` or `log2`, of the horizontal axis.
    """

    title: str
    description: str
    x_label: str
    panels: tuple[Panel, ...]
    strips: tuple[Strip, ...] = ()
    x_scale: Scale = "linear"

    @property
    def is_empty(self) -> bool:
        """Whether there is no point to draw."""
        return not any(series.points for panel in self.panels for series in panel.series)


def clean(
    points: Sequence[Point], x_scale: Scale = "linear", y_scale: Scale = "linear"
) -> list[Point]:
    """The points that can be drawn: finite, of a sane size, and above 0 on a logarithmic axis."""
    return [
        (x, y)
        for x, y in points
        if abs(x) < _LARGEST
        and abs(y) < _LARGEST
        and (x_scale == "linear" or x > 1 / _LARGEST)
        and (y_scale == "linear" or y > 1 / _LARGEST)
    ]


def thin(points: Sequence[Point], limit: int) -> tuple[Point, ...]:
    """At most `limit` points with the same look: of each stretch its lowest and its highest.

    A mean would hide the one step that took ten times as long.

    Args:
        points: In order of their horizontal values.
        limit: Most points that are kept, 4 or more.
    """
    if len(points) <= limit:
        return tuple(points)
    stretches = (limit - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for number in range(stretches):
        stretch = range(number * len(inner) // stretches, (number + 1) * len(inner) // stretches)
        low = min(stretch, key=lambda index: inner[index][1])
        high = max(stretch, key=lambda index: inner[index][1])
        kept += [inner[index] for index in sorted({low, high})]
    return (*kept, points[-1])
