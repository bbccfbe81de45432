"""From values to places on an axis, and where its ticks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hvdtrain.collect.figures.model import Scale

_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis.

    Attributes:
        low: The value at its beginning, in the unit of the axis.
        high: The value at its end, above `low`.
        scale: Linear, or by powers of two.
    """

    low: float
    high: float
    scale: Scale = "linear"

    def place(self, value: float) -> float:
        """How far along the axis a value is: 0 at the beginning, 1 at the end."""
        if self.scale == "log2":
            low, high = math.log2(self.low), math.log2(self.high)
            return (math.log2(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values that are on the axis."""
        if self.scale == "log2":
            first, last = math.ceil(math.log2(self.low)), math.floor(math.log2(self.high))
            every = max(1, -(-(last - first) // (_TICKS + 2)))
            return [2.0**power for power in range(first, last + 1, every)]
        step = _round_step((self.high - self.low) / _TICKS)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [number * step for number in range(first, last + 1)]


def make_axis(
    values: Sequence[float], scale: Scale = "linear", *, from_zero: bool = False, room: float = 0.04
) -> Axis:
    """The axis that shows all values, with some room at both ends.

    Args:
        values: Finite; above 0 for powers of two. None at all give an axis from 0 to 1, or 1 to 2.
        scale: Linear, or by powers of two.
        from_zero: Whether a linear axis begins at 0.
        room: At each end, as a share of the extent.
    """
    if scale == "log2":
        low, high = (math.log2(f(values)) if values else float(f is max) for f in (min, max))
        gap = max(room * (high - low), 0.1)
        return Axis(low=2 ** (low - gap), high=2 ** (high + gap), scale=scale)
    low, high = (f(values) if values else float(f is max) for f in (min, max))
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    # Where all values are one, and where they differ by less than a float can halve.
    extent = max(high - low, abs(high) * 1e-6, 1e-12)
    gap = max(room * extent, 0.0 if high - low == extent else extent)
    return Axis(low=low if from_zero and low == 0 else low - gap, high=high + gap)


def format_tick(value: float) -> str:
    """A tick's label."""
    return f"{value:.6g}" if value else "0"


def _round_step(step: float) -> float:
    """About this step, as 1, 2, 5 or 10 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.85 * step)
