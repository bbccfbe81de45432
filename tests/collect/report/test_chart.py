"""Figures in units of the drawing: every point where its value says, nothing outside."""

from __future__ import annotations

import re

import pytest

from hvdtrain.collect.figures.model import Figure, Panel, Series, Strip
from hvdtrain.collect.report.chart import WIDTH, make_chart

FIGURE = Figure(
    title="Two\nlines",
    description="d",
    x_label="x",
    panels=(
        Panel(
            y_label="y",
            from_zero=True,
            series=(
                Series(label="own", points=((0, 0), (5, 10), (10, 20)), colour=0),
                Series(label="paper", points=((5, 10),), style="marks"),
                Series(label="", points=((0, 20), (10, 20)), style="dashed"),
            ),
        ),
    ),
    strips=(Strip(label="on", spans=((2, 4),)),),
)


def numbers(path: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?[\d.]+", path)]


def test_a_point_is_where_its_value_says() -> None:
    chart = make_chart(FIGURE, "f")
    (panel,) = chart.panels
    x0, y0, x1, y1, x2, y2 = numbers(panel.lines[0].path)
    assert (x1, y1) == pytest.approx(((x0 + x2) / 2, (y0 + y2) / 2), abs=0.1)
    assert chart.left <= x0 < x2 <= chart.right
    assert panel.top <= y2 < y0 == panel.top + panel.height, "20 is above 0, and 0 is the frame"
    at = {tick.label: tick.at for tick in panel.ticks}
    assert (at["0"], at["20"]) == (y0, y2)


def test_neutral_series_differ_by_marks_and_own_ones_by_colour() -> None:
    chart = make_chart(FIGURE, "f")
    assert [line.look for line in chart.panels[0].lines] == [
        "c0 m0",
        "neutral m0",
        "neutral m1 dashed",
    ]
    assert [len(line.marks) for line in chart.panels[0].lines] == [0, 1, 0]
    assert [entry.text for entry in chart.legend] == ["own", "paper"]
    assert chart.panels[0].lines[1].marks[0].says == "paper: 5, 10"


def test_a_span_has_its_place_and_its_length() -> None:
    chart = make_chart(FIGURE, "f")
    ((begin, width),) = chart.strips[0].spans
    at = {tick.label: tick.at for tick in chart.x_ticks}
    assert begin == at["2"]
    assert abs(width - 2 * (at["4"] - at["2"])) < 0.2
    assert chart.strips[0].top + 10 < chart.height
    assert begin + width < WIDTH


def test_the_title_is_one_line() -> None:
    assert make_chart(FIGURE, "f").title == "Two, lines"
