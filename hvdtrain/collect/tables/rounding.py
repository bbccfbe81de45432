"""How numbers are rounded for people, and what is said of several runs of one job."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable


def format_amount(value: float | None) -> str:
    """One digit behind the point; very small and very large numbers as powers of ten."""
    if value is None:
        return ""
    return f"{value:.1f}" if 0.1 <= value < 1e9 or value == 0 else f"{value:.3g}"


def format_percent(fraction: float | None) -> str:
    """A fraction as percent."""
    return "" if fraction is None else format_amount(100 * fraction)


def format_signed(percent: float | None) -> str:
    """A difference in percent, always with its sign."""
    if percent is None:
        return ""
    percent = round(percent, 1) + 0.0  # no negative zero
    return f"{percent:+.1f}" if abs(percent) < 1e6 else f"{percent:+.3g}"


def difference_percent(value: float | None, reference: float | None) -> float | None:
    """How far a value is above a reference, in percent; None: one of them is missing or 0."""
    if value is None or not reference:
        return None
    difference = 100 * (value / reference - 1)
    return difference if math.isfinite(difference) else None


def median(values: Iterable[float | None]) -> float | None:
    """The median of the values that are there; None: none is."""
    there = [value for value in values if value is not None]
    middle = statistics.median(there) if there else math.nan
    return middle if math.isfinite(middle) else None


def spread_percent(values: Iterable[float | None]) -> float | None:
    """From the smallest to the largest value, in percent of the median.

    None: fewer than two values, which have no spread.
    """
    there = [value for value in values if value is not None]
    middle = median(there)
    if len(there) < 2 or not middle:
        return None
    spread = 100 * (max(there) - min(there)) / middle
    return spread if math.isfinite(spread) else None


def format_spread(percent: float | None) -> str:
    """A spread in percent: none is 0.0."""
    return "" if percent is None else f"{percent:.1f}"
