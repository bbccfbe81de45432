"""Fit the step time to what was measured, and say how well it forecasts what it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.nonnegative_fit import fit_least_power
from hvdtrain.plan.forecast.step_time import BACKWARD_SHARE, Ring, StepTime, ring_terms
from hvdtrain.plan.method.model import ModelSpec

POWER = 4
"""Of the relative errors whose sum is least: the worst row counts more than in least squares."""

FEWEST_POINTS = 4
"""As many as there are parameters: compute has two, and so has the ring."""

FEWEST_POINTS_FOR_OVERLAP = 8
"""With fewer, an overlap only chases the noise: it and the fixed seconds do nearly the same."""

PAPERS_MODEL = ModelSpec()
"""ResNet-50 v1 at 224 pixels, 1000 classes, fp32."""

GRADIENT_BYTES = 4 * PAPERS_MODEL.network.parameters
"""Of ResNet-50 in single precision."""

OMNI_PATH_BYTES_PER_SECOND = 12.5e9
"""Section V-A1 names the fabric of Stampede2; its links have 100 Gbit/s."""

SECTION_NODES = 256
"""Up to here the paper sees only what a free link takes: 3 % of a step of Table V, row 2.

Source: Section V-A1, "above 97 %" from 1 to 256 nodes.
"""

_MANY_OVERLAPS = (0.0, 0.25, 0.5, 0.75, 1.0)
# By how much a larger overlap must be better to be believed.
_BETTER = 0.9
_SETTLED_AFTER = 10

RingField = Literal["hop_seconds", "transfer_seconds", "crowding_seconds"]


@dataclass(frozen=True)
class Point:
    """A measured step.

    Attributes:
        micro_batch: Images that a node computed at once.
        nodes: Nodes that the step was measured on.
        step_seconds: Measured seconds of one update.
        accumulate: Batches of a rank in one update, 1 or more.
        name: Name of the measurement in messages, such as `Table V, row 1`.
    """

    micro_batch: int
    nodes: int
    step_seconds: float
    accumulate: int = 1
    name: str = ""


@dataclass(frozen=True)
class Assumptions:
    """What is known beforehand, and what is fitted.

    Attributes:
        ring: The known part of the reduction; fields that are fitted are 0 in it.
        fitted: Fields of the ring that are fitted. The compute time always is.
        overlaps: Overlaps to try, in rising order.
    """

    ring: Ring = field(default_factory=Ring)
    fitted: tuple[RingField, ...] = ("hop_seconds", "transfer_seconds")
    overlaps: tuple[float, ...] = (0.0,)


TABLE_V = Assumptions(
    ring=Ring(
        transfer_seconds=GRADIENT_BYTES / OMNI_PATH_BYTES_PER_SECOND, section_nodes=SECTION_NODES
    ),
    fitted=("hop_seconds", "crowding_seconds"),
)
"""Ten rows decide four parameters. No row has fewer nodes than a section, so the bandwidth within
one is that of the link."""


def same_fabric(ring: Ring) -> Assumptions:
    """The ring of another system with the same fabric and library: only compute is fitted."""
    return Assumptions(ring=ring, fitted=())


def fit_step_time(
    points: Sequence[Point], assumptions: Assumptions, source: str, model: ModelSpec = PAPERS_MODEL
) -> StepTime:
    """The step time that forecasts the points best.

    Args:
        points: Measured steps, four or more.
        assumptions: Terms that are given and not fitted.
        source: Where the measured steps come from, for people.
        model: The model that was trained in the steps.

    Raises:
        InputError: No step of positive length follows from the points.
    """
    fits = [_fit_exposed(points, assumptions, overlap) for overlap in assumptions.overlaps]
    best = fits[0]
    for fit in fits[1:]:
        if _misfit(fit, points) < _BETTER * _misfit(best, points):
            best = fit
    nodes = [point.nodes for point in points]
    batches = [point.micro_batch for point in points]
    return msgspec.structs.replace(
        best,
        fitted_nodes=(min(nodes), max(nodes)),
        fitted_batch=(min(batches), max(batches)),
        model=model,
        source=source,
    )


def with_error(step_time: StepTime, errors: Sequence[float]) -> StepTime:
    """The step time with the interval that the leave-one-out errors ask for."""
    return msgspec.structs.replace(step_time, error=min(1.0, max(map(abs, errors))))


def relative_errors(step_time: StepTime, points: Sequence[Point]) -> list[float]:
    """Of each point: how much longer than measured the step is said to be; 0.05 is 5 %."""
    return [
        step_time.step_seconds(point.micro_batch, point.nodes, point.accumulate)
        / point.step_seconds
        - 1
        for point in points
    ]


def leave_one_out(points: Sequence[Point], assumptions: Assumptions) -> list[float]:
    """The relative error of each point when it is forecast from all others; 1: they cannot."""
    errors = []
    for number, point in enumerate(points):
        others = [*points[:number], *points[number + 1 :]]
        try:
            fitted = fit_step_time(others, assumptions, "all others")
        except InputError:  # such as without the only point of another batch
            errors.append(1.0)
        else:
            errors += relative_errors(fitted, [point])
    return errors


def own_assumptions(points: Sequence[Point]) -> Assumptions:
    """What a fit to a user's own points assumes.

    Raises:
        InputError: There are too few of them to tell compute from communication.
    """
    shapes = {(point.micro_batch, point.nodes) for point in points}
    batches = sorted({batch for batch, _ in shapes})
    nodes = sorted({number for _, number in shapes})
    if len(shapes) < FEWEST_POINTS or len(batches) < 2 or len(nodes) < 2:
        raise InputError(
            "--fit",
            f"{len(shapes)} {'size' if len(shapes) == 1 else 'sizes'} of run, with node batches "
            f"{batches} on {nodes} nodes",
            f"at least {FEWEST_POINTS} sizes, among them 2 node batches and 2 numbers of nodes",
            "run a few updates each of, say, two node batches on two numbers of nodes",
        )
    many = len(shapes) >= FEWEST_POINTS_FOR_OVERLAP
    return Assumptions(overlaps=_MANY_OVERLAPS if many else (0.0,))


def _misfit(step_time: StepTime, points: Sequence[Point]) -> float:
    return math.fsum(math.pow(error, POWER) for error in relative_errors(step_time, points))


def _fit_exposed(points: Sequence[Point], assumptions: Assumptions, overlap: float) -> StepTime:
    """The fit for one overlap.

    Which points hide their reduction follows from the fit, and the fit from that: both are
    repeated until they agree.
    """
    exposed = [point.nodes > 1 for point in points]
    step_time = _fit_linear(points, exposed, assumptions, overlap)
    for _ in range(_SETTLED_AFTER):
        found = [_is_exposed(step_time, point) for point in points]
        if found == exposed:
            break
        exposed = found
        step_time = _fit_linear(points, exposed, assumptions, overlap)
    return step_time


def _is_exposed(step_time: StepTime, point: Point) -> bool:
    compute = step_time.compute_seconds(point.micro_batch)
    hidden = step_time.overlap * BACKWARD_SHARE * compute
    return point.nodes > 1 and step_time.ring.seconds(point.nodes) >= hidden


def _fit_linear(
    points: Sequence[Point], exposed: Sequence[bool], assumptions: Assumptions, overlap: float
) -> StepTime:
    rows, targets = [], []
    for point, shown in zip(points, exposed, strict=True):
        passes = point.accumulate - (overlap * BACKWARD_SHARE if shown else 0)
        terms = (
            _ring_columns(point.nodes, assumptions) if shown else [0.0] * len(assumptions.fitted)
        )
        known = assumptions.ring.seconds(point.nodes) if shown else 0.0
        columns = [passes, passes * point.micro_batch, *terms]
        rows.append([column / point.step_seconds for column in columns])
        targets.append(1 - known / point.step_seconds)
    fixed, image, *ring = fit_least_power(rows, targets, POWER)
    if image <= 0:
        raise InputError(
            "--fit",
            f"{len(points)} steps",
            "steps that take longer with a larger node batch",
            "leave out the runs that something else slowed down",
        )
    fitted = dict(zip(assumptions.fitted, ring, strict=True))
    return StepTime(
        fixed_seconds=fixed,
        image_seconds=image,
        overlap=overlap,
        ring=msgspec.structs.replace(assumptions.ring, **fitted),
        error=0.0,
        fitted_nodes=(1, 1),
        fitted_batch=(1, 1),
        source="being fitted",
    )


def _ring_columns(nodes: int, assumptions: Assumptions) -> list[float]:
    hops, passes, far = ring_terms(nodes, assumptions.ring.section_nodes)
    column = {"hop_seconds": hops, "transfer_seconds": passes, "crowding_seconds": far}
    return [column[name] for name in assumptions.fitted]
