"""The kinds of numbers that files and options may hold, each under a name of its own.

What a person writes has an upper limit too: a slip of the finger is refused, and not planned.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
"""How many; also none."""

PositiveInt = Annotated[int, Meta(ge=1)]
"""How many, and at least one."""

WrittenCount = Annotated[int, Meta(ge=0, le=10_000_000)]
"""How many, in a file that a person writes; also none."""

WrittenPositiveInt = Annotated[int, Meta(ge=1, le=10_000_000)]
"""How many, in a file that a person writes, and at least one."""

NonNegativeFloat = Annotated[float, Meta(ge=0)]
"""Seconds, images per second, rates: whatever is measured and cannot be below 0."""

PositiveFloat = Annotated[float, Meta(gt=0)]
"""Whatever is measured, or divided by, and cannot be 0."""

Fraction = Annotated[float, Meta(ge=0, le=1)]
"""A part of a whole, both ends included."""

FractionBelowOne = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole that is never all of it: a momentum, a decay of an average."""

Percent = Annotated[float, Meta(ge=0, le=100)]
"""A part of a whole in percent."""

LearningRate = Annotated[float, Meta(ge=0, le=1000)]
"""A learning rate, or a multiple of one."""

PositiveFactor = Annotated[float, Meta(gt=0, le=1000)]
"""A factor of a learning rate or of a gradient, in a recipe; a learning rate that is not 0."""

Epochs = Annotated[float, Meta(gt=0, le=10_000)]
"""A length in passes over the training images."""

WrittenSeconds = Annotated[float, Meta(ge=0, le=1e6)]
"""A duration in a file that a person writes."""

Minutes = Annotated[float, Meta(gt=0, le=100_000)]
"""An interval in a file that a person writes."""

Images = Annotated[int, Meta(ge=1, le=10**10)]
"""Images of an epoch."""

Pixels = Annotated[int, Meta(ge=1, le=10_000)]
"""Height or width of an image."""

Cores = Annotated[int, Meta(ge=0, le=100_000)]
"""Cores of a node; also none."""

Seed = Annotated[int, Meta(ge=0, lt=2**31)]
"""What random numbers begin with."""
