"""The figures of one run: loss, throughput, and where its wall time went."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from hvdtrain.collect.figures.model import Figure, Panel, Point, Series, Strip, clean, thin
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.metrics import Metrics, MetricsLine

# What takes longer than this share of a step between two steps is worth a mark.
_PAUSE = 0.1


def make_loss_figure(metrics: Metrics, plan: RunPlan, limit: int) -> Figure:
    """The loss of every update and of every evaluation.

    Args:
        metrics: Lines of the run's metrics.jsonl.
        plan: The run plan, which says where epochs begin.
        limit: Most points of a curve.
    """
    unit, x_label = _along(metrics, plan)
    training = [(line.step / unit, line.loss) for line in metrics.steps if line.loss is not None]
    evaluation = [
        (line.step / unit, line.evaluation_loss)
        for line in metrics.evaluations
        if line.evaluation_loss is not None
    ]
    series = [Series(label="training, each update", points=thin(training, limit), colour=0)]
    if evaluation:
        points = thin(evaluation, limit)
        series.append(Series(label="evaluation", points=points, style="line-marks", colour=1))
    return Figure(
        title="Loss",
        description=f"Training loss: {_range(training, 'nats')}",
        x_label=x_label,
        panels=(Panel(y_label="loss in nats", series=tuple(series)),),
    )


def make_throughput_figure(metrics: Metrics, plan: RunPlan, limit: int) -> Figure:
    """Images per second of all ranks together at every update."""
    unit, x_label = _along(metrics, plan)
    points = [
        (line.step / unit, plan.global_batch / line.step_seconds)
        for line in metrics.steps
        if line.step_seconds
    ]
    series = Series(label="all ranks, each update", points=thin(points, limit), colour=0)
    return Figure(
        title="Throughput",
        description=f"Images per second: {_range(points, 'images/s')}",
        x_label=x_label,
        panels=(Panel(y_label="images/s", series=(series,), from_zero=True),),
    )


def make_rank_figure(rank_seconds: Sequence[float], limit: int) -> Figure:
    """What every rank took for an update before it waited for the others.

    Args:
        rank_seconds: Mean seconds of an update, in order of rank. A single one waits for nobody.
        limit: Most points of a curve.
    """
    shown = rank_seconds if len(rank_seconds) > 1 else ()
    points = [(float(rank), seconds) for rank, seconds in enumerate(shown)]
    series = Series(label="", points=thin(points, limit), style="marks", colour=0)
    return Figure(
        title="Time of each rank",
        description=f"Seconds of an update without the wait for others: {_range(points, 's')}",
        x_label="rank",
        panels=(Panel(y_label="seconds", series=(series,), from_zero=True),),
    )


def _along(metrics: Metrics, plan: RunPlan) -> tuple[float, str]:
    """Updates of one unit of the horizontal axis, and its label; a short run has no epochs."""
    short = not metrics.steps or metrics.steps[-1].step < plan.steps_per_epoch
    return (1, "update") if short else (plan.steps_per_epoch, "epoch")


def make_timeline(metrics: Metrics, title: str, limit: int) -> Figure:
    """Seconds per step and the share of the allreduce, with what was between the steps.

    The horizontal axis is the wall time of training that counts: what was done after a checkpoint
    and had to be done again is not on it.
    """
    lines = [line for line in metrics.steps if line.step_seconds]
    seconds = [(line.seconds, line.step_seconds or 0.0) for line in lines]
    shares = [
        (line.seconds, 100 * line.allreduce_seconds / line.step_seconds)
        for line in lines
        if line.step_seconds and line.allreduce_seconds is not None
    ]
    evaluations, pauses = _between_steps(metrics, statistics.median([y for _, y in seconds] or [0]))
    return Figure(
        title=title,
        description=(
            f"Seconds per step: {_range(seconds, 's')} Evaluations: {len(evaluations)}, "
            f"{sum(length for _, length in evaluations):.3g} s. Pauses for checkpoints and other "
            f"things: {len(pauses)}, {sum(length for _, length in pauses):.3g} s."
        ),
        x_label="seconds since the training started",
        panels=(
            _panel("seconds per step", seconds, limit, 0),
            _panel("allreduce, % of the step", shares, limit, 1),
        ),
        strips=(
            Strip(label="evaluation", spans=_longest(evaluations, limit)),
            Strip(label="checkpoint, or other pause", spans=_longest(pauses, limit)),
        ),
    )


def _panel(label: str, points: Sequence[Point], limit: int, colour: int) -> Panel:
    series = Series(label="", points=thin(points, limit), colour=colour)
    return Panel(y_label=label, series=(series,), from_zero=True)


def _between_steps(
    metrics: Metrics, step_seconds: float
) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Evaluations and pauses, as beginnings and lengths.

    Nothing is logged when a checkpoint is written between two epochs: it is what keeps the next
    step waiting. One that is written within an epoch is part of a step.
    """
    lines = sorted([*metrics.steps, *metrics.evaluations], key=lambda line: line.seconds)
    evaluations: list[Point] = []
    pauses: list[Point] = []
    end = 0.0
    for number, line in enumerate(lines):
        gap = line.seconds - _compute_seconds(line) - end
        if line.count is not None:
            evaluations.append((end, gap))
        # Before the first step the ranks wait for each other and for the data.
        elif number and gap > _PAUSE * step_seconds:
            pauses.append((end, gap))
        end = line.seconds
    return tuple(clean(evaluations)), tuple(clean(pauses))


def _longest(spans: Sequence[Point], limit: int) -> tuple[Point, ...]:
    return tuple(sorted(sorted(spans, key=lambda span: -span[1])[:limit]))


def _compute_seconds(line: MetricsLine) -> float:
    return line.step_seconds or 0.0


def _range(points: Sequence[Point], unit: str) -> str:
    values = [y for _, y in clean(points)]
    if not values:
        return "no values."
    middle = statistics.median(values)
    return f"median {middle:.4g}, from {min(values):.4g} to {max(values):.4g} {unit}."
