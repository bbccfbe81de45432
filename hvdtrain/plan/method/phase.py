"""A phase: a stretch of a recipe with one learning-rate curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.files.decode import FieldError
from hvdtrain.files.fields import Line
from hvdtrain.files.numbers import Epochs, LearningRate, PositiveFactor
from hvdtrain.plan.method.curves import Cosine, Curve, PiecewiseConstant, Polynomial


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of training with one learning-rate curve.

    Attributes:
        name: For people.
        epochs: Length in epochs; either this or `steps`.
        steps: Length in updates.
        begin: Epoch of training at which it begins; checked, so that no phase before it can be
            forgotten or too long. None: after the phase before it.
        curve: `linear`, `polynomial` and `cosine` lead to `end`, or to `factor` times the start;
            `re-warm` rises linearly to `factor` times the start; `steps` multiplies by `factor`
            at each of `at`; `constant` stays.
        start: Rate at the beginning as a multiple of the peak, or `base` for the recipe's base
            rate (never above the peak), or `previous` for where the phase before it ended.
        end: Rate that the curve reaches, as a multiple of the peak.
        factor: Rate that the curve reaches, as a multiple of the rate that it starts with.
        power: Exponent of the polynomial; 1 is a straight line.
        at: When the rate falls, counted from the beginning of the phase in its own unit.
        weight_decay: Coupled L2 factor lambda.
        augment: Whether scale and aspect-ratio augmentation is on.
        snapshot: Whether the weights at its end are kept for an ensemble.
    """

    name: Line
    epochs: Epochs | None = None
    steps: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    begin: Annotated[float, Meta(ge=0, le=10000)] | None = None
    curve: Literal["linear", "polynomial", "cosine", "constant", "steps", "re-warm"] = "polynomial"
    start: LearningRate | Literal["base", "previous"] = "previous"
    end: LearningRate | None = None
    factor: PositiveFactor | None = None
    power: Annotated[float, Meta(gt=0, le=10)] = 1.0
    at: tuple[Epochs, ...] = ()
    weight_decay: Annotated[float, Meta(ge=0, le=10)]
    augment: bool = True
    snapshot: bool = False

    def __post_init__(self) -> None:
        for error in self._faults():
            raise error

    @property
    def length(self) -> float:
        """Its length in its own unit."""
        return self.epochs if self.epochs is not None else float(self.steps or 0)

    def in_steps(self, length: float, steps_per_epoch: float) -> float:
        """A length in the phase's own unit as a number of updates, not rounded."""
        return length if self.epochs is None else length * steps_per_epoch

    def make_curve(self, start_lr: float, peak_lr: float, boundaries: tuple[int, ...]) -> Curve:
        """The learning rate over the phase.

        Args:
            start_lr: Where it starts.
            peak_lr: What `end` is a multiple of.
            boundaries: `at`, as the phase's own steps.
        """
        factor = 1.0 if self.factor is None else self.factor
        if self.curve in ("steps", "constant"):
            return PiecewiseConstant(start_lr=start_lr, factor=factor, boundaries=boundaries)
        end_lr = start_lr * factor if self.end is None else self.end * peak_lr
        if self.curve == "cosine":
            return Cosine(start_lr=start_lr, end_lr=end_lr)
        return Polynomial(start_lr=start_lr, end_lr=end_lr, power=self.power)

    def _faults(self) -> Iterator[FieldError]:
        if self.epochs is None and self.steps is None:
            yield FieldError("epochs", None, "a length in epochs, or in steps")
        if self.epochs is not None and self.steps is not None:
            yield FieldError("steps", self.steps, "a length in epochs or in steps, not both")
        yield from self._faults_of_ends()
        if self.power != 1 and self.curve != "polynomial":
            yield FieldError("power", self.power, 'only with curve = "polynomial"')
        yield from self._faults_of_boundaries()

    def _faults_of_ends(self) -> Iterator[FieldError]:
        takes_end = self.curve in ("linear", "polynomial", "cosine")
        if self.end is not None and not takes_end:
            yield FieldError("end", self.end, f"none: the curve {self.curve} has no end of its own")
        if self.curve == "constant" and self.factor is not None:
            yield FieldError("factor", self.factor, "none: a constant rate stays")
        if takes_end and self.end is None and self.factor is None:
            yield FieldError("end", None, "the rate that the curve reaches, or a factor")
        if self.end is not None and self.factor is not None:
            yield FieldError("factor", self.factor, "end or factor, not both")
        if self.curve in ("steps", "re-warm") and self.factor is None:
            yield FieldError("factor", None, f"what the curve {self.curve} multiplies the rate by")
        if self.curve == "re-warm" and self.factor is not None and self.factor <= 1:
            yield FieldError("factor", self.factor, "above 1: a re-warm rises")

    def _faults_of_boundaries(self) -> Iterator[FieldError]:
        if self.curve != "steps":
            if self.at:
                yield FieldError("at", list(self.at), 'only with curve = "steps"')
            return
        if not self.at:
            yield FieldError("at", None, "when the rate falls, such as [25, 55, 75]")
        before = 0.0
        for index, boundary in enumerate(self.at):
            if not before < boundary < self.length:
                allowed = f"above {before:g} and below {self.length:g}, where the phase ends"
                yield FieldError(f"at[{index}]", boundary, allowed)
            before = boundary


def round_steps(position: float) -> int:
    """The nearest whole step; halves go up, the same way everywhere."""
    return math.floor(position + 0.5)
