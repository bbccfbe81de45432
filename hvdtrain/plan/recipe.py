"""A recipe: how to train, as data, and how it becomes a schedule for one global batch."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.plan.decode import load_toml
from hvdtrain.plan.optimizerspec import OptimizerSpec, SgdSpec
from hvdtrain.plan.schedule import Schedule, Segment
from hvdtrain.plan.text import Line, unknown_name
from hvdtrain.resources import resource_folder

Rate = Annotated[float, Meta(ge=0, le=1000)]


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The linear scaling rule: peak = base_lr x global_batch / base_batch, at most max_peak_lr.

    Attributes:
        base_lr: Learning rate for `base_batch`. Source: Section IV-D after Goyal et al., 0.1.
        base_batch: Source: the same, 256.
        max_peak_lr: Cap of the peak; None: no cap. Source: Section V-C, 6.4 for 16K and above.
    """

    base_lr: Annotated[float, Meta(gt=0, le=1000)] = 0.1
    base_batch: Annotated[int, Meta(ge=1)] = 256
    max_peak_lr: Annotated[float, Meta(gt=0, le=1000)] | None = None

    def peak_lr(self, global_batch: int) -> float:
        """The peak learning rate for a global batch."""
        peak = self.base_lr * global_batch / self.base_batch
        return peak if self.max_peak_lr is None else min(peak, self.max_peak_lr)


class Phase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch of training with one learning-rate curve.

    Attributes:
        name: For people.
        epochs: Length in epochs.
        start: Rate at the beginning as a multiple of the peak, or `base` for the recipe's base
            rate (never above the peak), or `previous` for where the phase before it ended.
        end: Rate that the curve reaches, as a multiple of the peak.
        power: Exponent of the polynomial; 1 is a straight line.
        weight_decay: Coupled L2 factor lambda.
        augment: Whether scale and aspect-ratio augmentation is on.
    """

    name: Line
    epochs: Annotated[float, Meta(gt=0, le=10000)]
    start: Rate | Literal["base", "previous"] = "previous"
    end: Rate
    power: Annotated[float, Meta(gt=0, le=10)] = 1.0
    weight_decay: Annotated[float, Meta(ge=0, le=1)]
    augment: bool = True


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train.

    Attributes:
        name: The file's name.
        title: For people.
        source: The paper's table and section.
        optimizer: What turns gradients into steps.
        label_smoothing: Share of each label that is spread evenly over all classes.
        average_decay: Decay per update of the running mean of the weights that is evaluated and
            saved; None: the weights themselves are.
        scaling: How the peak follows the global batch.
        phase: The phases, in order.
    """

    name: Line
    title: Line
    source: Line
    optimizer: OptimizerSpec = SgdSpec()
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    average_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    scaling: Scaling = Scaling()
    phase: Annotated[tuple[Phase, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.phase[0].start == "previous":
            raise ValueError(f"the first phase, {self.phase[0].name!r}, has nothing before it")

    @property
    def epochs(self) -> float:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phase)


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(file.stem for file in resource_folder("recipes").glob("*.toml"))


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or any recipe by the path of its file.

    Raises:
        InputError: No such recipe, or its file does not fit; the message names the field.
    """
    if name.endswith(".toml"):
        return load_toml(Path(name), Recipe)
    if name not in recipe_names():
        raise unknown_name("--recipe", name, recipe_names(), ", or a path ending in .toml")
    return load_toml(resource_folder("recipes") / f"{name}.toml", Recipe)


def stretch_recipe(recipe: Recipe, epochs: float) -> Recipe:
    """The same recipe over another number of epochs, every phase keeping its share.

    Raises:
        InputError: Not a number above 0, or above 10,000.
    """
    if not 0 < epochs <= 10_000:
        raise InputError("--epochs", epochs, "a number above 0, at most 10000", "--epochs 90")
    factor = epochs / recipe.epochs
    phases = tuple(
        msgspec.structs.replace(phase, epochs=phase.epochs * factor) for phase in recipe.phase
    )
    return msgspec.structs.replace(recipe, phase=phases)


def make_schedule(recipe: Recipe, global_batch: int, steps_per_epoch: int) -> Schedule:
    """The recipe for one global batch, with phases that begin and end at whole steps.

    Phase boundaries are rounded from the start of training, so rounding never adds up. A phase
    that is left without a step, as in a run of a few steps, is left out.

    Raises:
        InputError: The whole recipe is shorter than half a step.
    """
    peak_lr = recipe.scaling.peak_lr(global_batch)
    ends = itertools.accumulate(phase.epochs for phase in recipe.phase)
    boundaries = [0, *(math.floor(end * steps_per_epoch + 0.5) for end in ends)]
    if boundaries[-1] == 0:
        raise InputError(
            "--epochs",
            recipe.epochs,
            f"at least one step; an epoch has {steps_per_epoch}",
            f"--epochs {1 / steps_per_epoch:.3g}",
        )
    segments: list[Segment] = []
    for phase, first, last in zip(recipe.phase, boundaries, boundaries[1:], strict=False):
        if last == first:
            continue
        start_lr = _start_lr(phase, recipe.scaling, peak_lr, segments)
        segments.append(
            Segment(
                name=phase.name,
                steps=last - first,
                start_lr=start_lr,
                end_lr=phase.end * peak_lr,
                power=phase.power,
                weight_decay=phase.weight_decay,
                augment=phase.augment,
            )
        )
    return Schedule(segments=tuple(segments))


def _start_lr(phase: Phase, scaling: Scaling, peak_lr: float, before: list[Segment]) -> float:
    match phase.start:
        case "base":
            return min(scaling.base_lr, peak_lr)
        case "previous":
            return before[-1].end_lr if before else peak_lr
        case multiple:
            return multiple * peak_lr
