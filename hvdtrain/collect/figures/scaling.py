"""Speedup and efficiency over the number of nodes, as in the paper's Figures 1 and 2."""

from __future__ import annotations

from collections.abc import Iterable

from hvdtrain.collect.figures.model import Figure, Panel, Point, Series
from hvdtrain.collect.paper.points import PaperFigure, load_paper_figure
from hvdtrain.collect.paper.tables import load_paper_table
from hvdtrain.collect.tables.runs_table import Row

_NUMBERS = (1, 2)


def make_scaling_figure(rows: Iterable[Row]) -> Figure:
    """The runs' points over the paper's.

    Every base counts as if it had scaled ideally to its own nodes, so that a run that began with
    one node and a table that begins with 256 have one ideal line.

    Args:
        rows: Of the collected table; those with an efficiency are drawn.
    """
    paper = [
        pair for number in _NUMBERS for pair in _paper_speedups(load_paper_figure(number)) if pair
    ]
    own = _own_speedups(rows)
    nodes = [x for _, points in [*paper, *own] for x, _ in points]
    ends = tuple((x, x) for x in (min(nodes), max(nodes)))
    return Figure(
        title="Speedup and efficiency, over the paper's Figures 1 and 2",
        description=_describe(own),
        x_label="nodes",
        x_scale="log2",
        panels=(
            Panel(
                y_label="speedup",
                y_scale="log2",
                series=(
                    Series(label="ideal", points=ends, style="dashed"),
                    *_series(paper, own),
                ),
            ),
            Panel(
                y_label="efficiency, %",
                series=(
                    Series(label="", points=tuple((x, 100.0) for x, _ in ends), style="dashed"),
                    *_series(_efficiencies(paper), _efficiencies(own), labelled=False),
                ),
            ),
        ),
    )


_Named = tuple[str, tuple[Point, ...]]


def _paper_speedups(figure: PaperFigure) -> list[_Named]:
    """Its series by nodes; a lone point that is 1 by definition says nothing."""
    per_node = (load_paper_table("VI").sockets_per_node or 1) if figure.figure == 2 else 1
    named = []
    for series in figure.series:
        if series.base is None or all(point.x == series.base for point in series.point):
            continue
        points = tuple(
            (point.x / per_node, point.y * series.base / per_node) for point in series.point
        )
        named.append((f"paper, Fig. {figure.figure}: {series.name}", points))
    return named


def _own_speedups(rows: Iterable[Row]) -> list[_Named]:
    groups: dict[tuple[str, str, int, str], list[Point]] = {}
    for row in rows:
        if row.efficiency is not None:
            key = (row.system, row.label, row.node_batch, row.model)
            groups.setdefault(key, []).append((row.nodes, row.efficiency * row.nodes))
    return [
        (f"{system}, {label}, local batch {batch}, {model}", tuple(sorted(points)))
        for (system, label, batch, model), points in groups.items()
    ]


def _efficiencies(named: list[_Named]) -> list[_Named]:
    return [(name, tuple((x, 100 * y / x) for x, y in points)) for name, points in named]


def _series(paper: list[_Named], own: list[_Named], labelled: bool = True) -> list[Series]:
    neutral = [
        Series(label=name if labelled else "", points=points, style="line-marks")
        for name, points in paper
    ]
    return neutral + [
        Series(label=name if labelled else "", points=points, style="line-marks", colour=number)
        for number, (name, points) in enumerate(own)
    ]


def _describe(own: list[_Named]) -> str:
    if not own:
        return "Only the paper's points: no completed run has a throughput."
    ends = (f"{name}: {100 * y / x:.1f} % on {x:g} nodes" for name, ((x, y), *_) in _last(own))
    return "Efficiency on the most nodes: " + "; ".join(ends) + "."


def _last(own: list[_Named]) -> list[_Named]:
    return [(name, points[-1:]) for name, points in own]
