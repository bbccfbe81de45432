"""Learning-rate curves: pure functions of a segment's own step.

Every curve starts at `start_lr` and reaches `end_lr` one step after the segment's last, where the
next segment begins. With x = step / steps, the share of the segment that has passed:

    polynomial  start y + end (1 - y)    y = (1 - x)^power
    cosine      start y + end (1 - y)    y = (1 + cos(pi x)) / 2
    piecewise   start factor^k           k: boundaries at or before the step

A polynomial of power 1 is a straight line; without boundaries the rate is constant.

>>> Polynomial(start_lr=4.0, end_lr=0.0, power=2.0).rate(5, 10)
1.0
>>> Cosine(start_lr=4.0, end_lr=0.0).rate(5, 10)
2.0
>>> [
...     PiecewiseConstant(start_lr=4.0, factor=0.5, boundaries=(3, 6)).rate(step, 10)
...     for step in (2, 3, 9)
... ]
[4.0, 2.0, 1.0]
"""

from __future__ import annotations

import bisect
import math

import msgspec

from hvdtrain.files.numbers import NonNegativeFloat, PositiveFloat


class Polynomial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From one rate to another, up or down.

    Attributes:
        start_lr: Learning rate at the first step.
        end_lr: Learning rate one step after the last.
        power: Exponent, above 0.
    """

    start_lr: NonNegativeFloat
    end_lr: NonNegativeFloat
    power: PositiveFloat = 1.0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step of a segment of that many."""
        left: float = (1 - step / steps) ** self.power
        return self.start_lr * left + self.end_lr * (1 - left)


class Cosine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Half a period of a cosine. Source: SGDR (Loshchilov and Hutter, 2016), equation 5.

    Attributes:
        start_lr: Learning rate at the first step.
        end_lr: Learning rate one step after the last.
    """

    start_lr: NonNegativeFloat
    end_lr: NonNegativeFloat

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step of a segment of that many."""
        left = (1 + math.cos(math.pi * step / steps)) / 2
        return self.start_lr * left + self.end_lr * (1 - left)


class PiecewiseConstant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Constant, multiplied by a factor at some steps.

    Attributes:
        start_lr: Learning rate at the first step.
        factor: What each fall multiplies the rate with.
        boundaries: The segment's own steps that are the first with a new rate, ascending.
    """

    start_lr: NonNegativeFloat
    factor: PositiveFloat
    boundaries: tuple[int, ...]

    @property
    def end_lr(self) -> float:
        """Learning rate after the last fall."""
        return self.start_lr * self.factor ** len(self.boundaries)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step; a staircase is the same in a segment of any length."""
        return self.start_lr * self.factor ** bisect.bisect_right(self.boundaries, step)


Curve = Polynomial | Cosine | PiecewiseConstant
