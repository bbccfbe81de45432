"""A recipe: how to train, as data, and how it becomes a schedule for one global batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.decode import FieldError, load_toml
from hvdtrain.files.fields import Line, unknown_name
from hvdtrain.files.numbers import Epochs, FractionBelowOne
from hvdtrain.files.paths import expand_path
from hvdtrain.plan.method.optimizer import OptimizerSpec, SgdSpec
from hvdtrain.plan.method.phase import Phase, round_steps
from hvdtrain.plan.method.scaling_rules import Scaling
from hvdtrain.plan.method.schedule import Schedule, Segment
from hvdtrain.resources import resource_folder

# Lengths such as 4.5 and 85.5 epochs are sums of decimals, which floats only come near.
_TOLERANCE = 1e-6

LARGE_BATCH = 16_384
"""From here on the large-batch recipe is the default. Source: Section V-C, "16K and above"."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train.

    Attributes:
        name: The file's name.
        title: For people.
        source: The paper's table and section.
        total_epochs: Length of the whole; checked against the phases. None: what they add up to.
        optimizer: What turns gradients into steps.
        label_smoothing: Share of each label that is spread evenly over all classes.
        average_decay: Decay per update of the running mean of the weights that is evaluated and
            saved; None: the weights themselves are.
        scaling: How the peak follows the global batch.
        phase: The phases, in order.
        collapse: What makes a model of an ensemble from each snapshot, in a run of its own. It
            begins at the rate where the snapshot left off.
    """

    name: Line
    title: Line
    source: Line
    total_epochs: Epochs | None = None
    optimizer: OptimizerSpec = SgdSpec()
    label_smoothing: FractionBelowOne = 0.0
    average_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    scaling: Scaling = Scaling()
    phase: Annotated[tuple[Phase, ...], Meta(min_length=1)]
    collapse: Phase | None = None

    def __post_init__(self) -> None:
        if self.phase[0].start == "previous":
            raise FieldError("phase[0].start", "previous", "a rate: there is nothing before it")
        _check_legw(self)
        _check_epochs(self)
        _check_collapse(self)

    @property
    def epochs(self) -> float | None:
        """Epochs of all phases; None: some have a length in steps."""
        return _epochs_of(self.phase)


def _epochs_of(phases: Sequence[Phase]) -> float | None:
    """The epochs of some phases together; None: not all have a length in epochs."""
    lengths = [phase.epochs for phase in phases if phase.epochs is not None]
    return sum(lengths) if len(lengths) == len(phases) else None


def _check_epochs(recipe: Recipe) -> None:
    """Raise FieldError where the phases leave a gap or overrun what the recipe says."""
    for index, phase in enumerate(recipe.phase):
        if phase.begin is not None:
            _check_end(f"phase[{index}].begin", phase.begin, recipe.phase[:index])
    if recipe.total_epochs is not None:
        _check_end("total_epochs", recipe.total_epochs, recipe.phase)


def _check_end(field: str, said: float, phases: Sequence[Phase]) -> None:
    reached = _epochs_of(phases)
    if reached is None:
        raise FieldError(field, said, "none: a phase before has its length in steps")
    if abs(reached - said) > _TOLERANCE * max(1.0, said):
        fault = "there is a gap" if reached < said else "they overrun"
        raise FieldError(field, said, f"{reached:g}, where the phases before it end: {fault}")


def _check_legw(recipe: Recipe) -> None:
    if recipe.scaling.rule != "legw":
        return
    for index in (0, 1):
        if index >= len(recipe.phase) or recipe.phase[index].epochs is None:
            raise FieldError(
                f"phase[{index}].epochs",
                None,
                "a length in epochs: under legw the first phase is the warm-up, and the second "
                "gives or takes what it changes by",
            )
    if recipe.phase[0].snapshot:
        raise FieldError("phase[0].snapshot", True, "false: under legw the first phase is no end")


def _check_collapse(recipe: Recipe) -> None:
    if recipe.collapse is None:
        return
    if recipe.collapse.start != "previous":
        allowed = "previous, or nothing: it begins where the snapshot left off"
        raise FieldError("collapse.start", recipe.collapse.start, allowed)
    if recipe.collapse.begin is not None:
        raise FieldError("collapse.begin", recipe.collapse.begin, "none: it follows each snapshot")
    if recipe.collapse.snapshot:
        raise FieldError("collapse.snapshot", True, "false: its end is a model, not a snapshot")


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(file.stem for file in resource_folder("recipes").glob("*.toml"))


def load_recipe(name: str, option: str = "--recipe") -> Recipe:
    """A shipped recipe by name, or any recipe by the path of its file.

    Args:
        name: Or the path, ending in .toml.
        option: What takes the name, for the message.

    Raises:
        InputError: No such recipe, or its file does not fit; the message names the field.
    """
    if name.endswith(".toml"):
        return load_toml(Path(expand_path(option, name)), Recipe)
    if name not in recipe_names():
        raise unknown_name(option, name, recipe_names(), ", or a path ending in .toml")
    return load_toml(resource_folder("recipes") / f"{name}.toml", Recipe)


def stretch_recipe(recipe: Recipe, epochs: float) -> Recipe:
    """The same recipe over another number of epochs, every phase keeping its share.

    Raises:
        InputError: Not a number above 0, or above 10,000; or a phase has its length in steps.
    """
    if not 0 < epochs <= 10_000:
        raise InputError("--epochs", epochs, "a number above 0, at most 10000", "--epochs 90")
    if recipe.epochs is None:
        raise InputError(
            "--epochs",
            epochs,
            f"only a recipe with all phases in epochs; {recipe.name} has some in steps",
            "leave --epochs out",
        )
    factor = epochs / recipe.epochs
    return msgspec.structs.replace(
        recipe,
        total_epochs=None,
        phase=tuple(_stretch_phase(phase, factor) for phase in recipe.phase),
        collapse=None if recipe.collapse is None else _stretch_phase(recipe.collapse, factor),
    )


def _stretch_phase(phase: Phase, factor: float) -> Phase:
    if phase.epochs is None:  # only a collapse: a phase in steps is refused above
        return phase
    return msgspec.structs.replace(
        phase,
        epochs=phase.epochs * factor,
        begin=None,
        at=tuple(fall * factor for fall in phase.at),
    )


def default_recipe(global_batch: int) -> str:
    """The paper's recipe for a global batch, by its name."""
    return "large-batch-100" if global_batch >= LARGE_BATCH else "linear-90"


def make_schedule(recipe: Recipe, global_batch: int, steps_per_epoch: float) -> Schedule:
    """The recipe for one global batch, with phases that begin and end at whole steps.

    Phase boundaries are rounded from the start of training, so rounding never adds up. A phase
    that is left without a step, as in a run of a few steps, is left out.

    Raises:
        InputError: The whole recipe is shorter than half a step, or legw makes the warm-up
            longer than the two phases that share its time.
    """
    peak_lr = recipe.scaling.peak_lr_for(global_batch)
    segments: list[Segment] = []
    lr = peak_lr
    for phase, begin, steps in _placed_phases(recipe, global_batch, steps_per_epoch):
        first = round_steps(begin)
        boundaries = tuple(
            round_steps(begin + phase.in_steps(fall, steps_per_epoch)) - first for fall in phase.at
        )
        curve = phase.make_curve(_start_lr(phase, recipe.scaling, peak_lr, lr), peak_lr, boundaries)
        lr = curve.end_lr
        if steps == 0:
            continue
        segments.append(
            Segment(
                name=phase.name,
                steps=steps,
                curve=curve,
                weight_decay=phase.weight_decay,
                augment=phase.augment,
                snapshot=phase.snapshot,
            )
        )
    if not segments:
        raise InputError(
            "--epochs",
            recipe.epochs,
            f"at least one step; an epoch has {steps_per_epoch:.6g}",
            f"--epochs {1 / steps_per_epoch:.3g}",
        )
    return Schedule(segments=tuple(segments))


def snapshot_phases(recipe: Recipe, global_batch: int, steps_per_epoch: float) -> tuple[int, ...]:
    """The phases, counted from 0, that end with the snapshots of the schedule, in their order."""
    placed = _placed_phases(recipe, global_batch, steps_per_epoch)
    return tuple(
        index for index, (phase, _, steps) in enumerate(placed) if phase.snapshot and steps > 0
    )


def _placed_phases(
    recipe: Recipe, global_batch: int, steps_per_epoch: float
) -> Iterator[tuple[Phase, float, int]]:
    """Each phase, where it begins in steps, not rounded, and its whole steps, perhaps none."""
    begin = 0.0
    for phase in _scaled_phases(recipe, global_batch):
        end = begin + phase.in_steps(phase.length, steps_per_epoch)
        yield phase, begin, round_steps(end) - round_steps(begin)
        begin = end


def _start_lr(phase: Phase, scaling: Scaling, peak_lr: float, previous_lr: float) -> float:
    match phase.start:
        case "base":
            return min(scaling.base_lr, peak_lr)
        case "previous":
            return previous_lr
        case multiple:
            return multiple * peak_lr


def _scaled_phases(recipe: Recipe, global_batch: int) -> tuple[Phase, ...]:
    """The phases with the warm-up that the scaling rule asks for; the whole stays as long."""
    factor = recipe.scaling.warm_up_factor(global_batch)
    if factor == 1:
        return recipe.phase
    warm_up, after, *rest = recipe.phase
    assert warm_up.epochs is not None and after.epochs is not None
    longer = warm_up.epochs * (factor - 1)
    room = min((after.epochs, *after.at))
    if longer >= room:
        most = int(recipe.scaling.base_batch * (1 + room / warm_up.epochs))
        raise InputError(
            "global batch",
            global_batch,
            f"less than {most}, where the warm-up of {recipe.name} under legw takes all the time "
            "of the phase after it",
        )
    return (
        msgspec.structs.replace(warm_up, epochs=warm_up.epochs + longer, begin=None),
        msgspec.structs.replace(
            after,
            epochs=after.epochs - longer,
            begin=None,
            at=tuple(fall - longer for fall in after.at),
        ),
        *rest,
    )
