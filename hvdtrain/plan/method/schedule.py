"""Learning rate, weight decay and augmentation as pure functions of the step.

A schedule is a row of segments; each sees its own steps, counted from 0.

>>> from hvdtrain.plan.method.curves import Polynomial
>>> rise, fall = Polynomial(start_lr=0.1, end_lr=1.1), Polynomial(start_lr=1.1, end_lr=0.0)
>>> warm_up = Segment(name="warm-up", steps=10, curve=rise, weight_decay=1e-4)
>>> decay = Segment(name="decay", steps=20, curve=fall, weight_decay=1e-4)
>>> schedule = Schedule(segments=(warm_up, decay))
>>> [round(schedule.learning_rate(step), 3) for step in (0, 5, 10, 20, 29)]
[0.1, 0.6, 1.1, 0.55, 0.055]
"""

from __future__ import annotations

import itertools

import msgspec

from hvdtrain.files.numbers import NonNegativeFloat, PositiveInt
from hvdtrain.plan.method.curves import Curve


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of steps with one curve.

    Attributes:
        name: The phase of the recipe it came from.
        steps: Its length, at least 1.
        curve: Learning rate.
        weight_decay: Coupled L2 factor lambda during the segment.
        augment: Whether scale and aspect-ratio augmentation is on.
        snapshot: Whether the weights at its end are kept.
    """

    name: str
    steps: PositiveInt
    curve: Curve
    weight_decay: NonNegativeFloat = 0.0
    augment: bool = True
    snapshot: bool = False

    def learning_rate(self, step: int) -> float:
        """The rate at the segment's own step, counted from 0."""
        return self.curve.rate(step, self.steps)


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Segments one after the other."""

    segments: tuple[Segment, ...]

    @property
    def steps(self) -> int:
        """Steps of the whole schedule."""
        return sum(segment.steps for segment in self.segments)

    @property
    def peak_lr(self) -> float:
        """The highest rate of any step."""
        return max(max(segment.curve.start_lr, segment.curve.end_lr) for segment in self.segments)

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Updates after which the weights are kept for an ensemble."""
        ends = itertools.accumulate(segment.steps for segment in self.segments)
        pairs = zip(self.segments, ends, strict=True)
        return tuple(end for segment, end in pairs if segment.snapshot)

    def learning_rate(self, step: int) -> float:
        """The learning rate of the update number `step`, counted from 0.

        Raises:
            IndexError: The schedule has no such step.
        """
        segment, own_step = self._find(step)
        return segment.learning_rate(own_step)

    def weight_decay(self, step: int) -> float:
        """The weight decay lambda of the update number `step`."""
        return self.segment(step).weight_decay

    def augment(self, step: int) -> bool:
        """Whether the images of the update number `step` get scale and aspect augmentation."""
        return self.segment(step).augment

    def segment(self, step: int) -> Segment:
        """The segment that the update number `step` is in."""
        return self._find(step)[0]

    def _find(self, step: int) -> tuple[Segment, int]:
        own_step = step
        if step >= 0:
            for segment in self.segments:
                if own_step < segment.steps:
                    return segment, own_step
                own_step -= segment.steps
        raise IndexError(f"step {step} is outside the schedule of {self.steps} steps")
