"""Points that can be drawn, and fewer of them with the same look."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.collect.figures.model import Figure, Panel, Series, clean, thin

finite = st.floats(-1e6, 1e6)


@given(ys=st.lists(finite, max_size=300), limit=st.integers(4, 60))
def test_thinning_keeps_order_ends_and_extremes(ys: list[float], limit: int) -> None:
    points = [(float(x), y) for x, y in enumerate(ys)]
    kept = thin(points, limit)
    assert len(kept) <= max(limit, len(points) if len(points) <= limit else 0)
    assert list(kept) == sorted(set(kept) & set(points))
    if points:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        assert {min(y for _, y in kept), max(y for _, y in kept)} == {min(ys), max(ys)}


def test_what_cannot_be_drawn_is_left_out() -> None:
    points = [(1.0, math.nan), (2.0, math.inf), (3.0, 1e300), (0.0, 5.0), (4.0, -1.0), (5.0, 2.0)]
    assert clean(points) == [(0.0, 5.0), (4.0, -1.0), (5.0, 2.0)]
    assert clean(points, "log2", "log2") == [(5.0, 2.0)]


def test_a_figure_without_points_is_empty() -> None:
    panel = Panel(y_label="y", series=(Series(label="a", points=()),))
    assert Figure(title="t", description="d", x_label="x", panels=(panel,)).is_empty
