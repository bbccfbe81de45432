"""Learning rate, weight decay and augmentation as pure functions of the step.

A schedule is a row of segments. Within a segment of n steps from rate a to rate b, the rate at
its own step t (0 <= t < n) is

    b + (a - b) * (1 - t / n) ** power

so power 1 is a straight line, a falling line ends at b exactly where the next segment begins,
and a constant rate is a == b.

>>> warm_up = Segment(name="warm-up", steps=10, start_lr=0.1, end_lr=1.1, weight_decay=1e-4)
>>> decay = Segment(name="decay", steps=20, start_lr=1.1, end_lr=0.0, weight_decay=1e-4)
>>> schedule = Schedule(segments=(warm_up, decay))
>>> [round(schedule.learning_rate(step), 3) for step in (0, 5, 10, 20, 29)]
[0.1, 0.6, 1.1, 0.55, 0.055]
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of steps with one curve.

    Attributes:
        name: The phase of the recipe it came from.
        steps: Its length, at least 1.
        start_lr: Learning rate at its first step.
        end_lr: Learning rate that the curve reaches one step after its last.
        power: Exponent of the polynomial, above 0.
        weight_decay: Coupled L2 factor lambda during the segment.
        augment: Whether scale and aspect-ratio augmentation is on.
    """

    name: str
    steps: Annotated[int, Meta(ge=1)]
    start_lr: Annotated[float, Meta(ge=0)]
    end_lr: Annotated[float, Meta(ge=0)]
    power: Annotated[float, Meta(gt=0)] = 1.0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    augment: bool = True

    def learning_rate(self, step: int) -> float:
        """The rate at the segment's own step, counted from 0."""
        left: float = (1 - step / self.steps) ** self.power
        return self.end_lr + (self.start_lr - self.end_lr) * left


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
        return max(max(segment.start_lr, segment.end_lr) for segment in self.segments)

    def learning_rate(self, step: int) -> float:
        """The learning rate of the update number `step`, counted from 0.

        Raises:
            IndexError: The schedule has no such step.
        """
        segment, own_step = self._find(step)
        return segment.learning_rate(own_step)

    def weight_decay(self, step: int) -> float:
        """The weight decay lambda of the update number `step`."""
        return self._find(step)[0].weight_decay

    def augment(self, step: int) -> bool:
        """Whether the images of the update number `step` get scale and aspect augmentation."""
        return self._find(step)[0].augment

    def _find(self, step: int) -> tuple[Segment, int]:
        own_step = step
        if step >= 0:
            for segment in self.segments:
                if own_step < segment.steps:
                    return segment, own_step
                own_step -= segment.steps
        raise IndexError(f"step {step} is outside the schedule of {self.steps} steps")
