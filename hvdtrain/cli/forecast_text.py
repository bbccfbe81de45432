"""A forecast and the check of its fit, as text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hvdtrain.cli.output import align
from hvdtrain.collect.forecast_basis import Basis
from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.fit import fit_step_time, leave_one_out, relative_errors
from hvdtrain.plan.forecast.forecast import Forecast, Interval
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.units import format_duration


def format_forecasts(plans: Sequence[RunPlan], forecasts: Sequence[Forecast]) -> str:
    """One line for each number of nodes, each value with its interval."""
    rows = [
        (
            "nodes",
            "global batch",
            "s/step",
            "s/epoch",
            "images/s",
            "efficiency",
            "time to train",
            "node-hours",
        )
    ]
    for plan, forecast in zip(plans, forecasts, strict=True):
        minutes = forecast.minutes_to_train
        rows.append(
            (
                str(plan.nodes),
                str(plan.global_batch),
                _format_interval(forecast.step_seconds, ".3f"),
                _format_interval(forecast.epoch_seconds, ".1f"),
                _format_interval(forecast.images_per_second, ".0f"),
                _format_interval(forecast.efficiency, ".0%"),
                f"{format_duration(minutes.value * 60)} (<= {format_duration(minutes.high * 60)})",
                _format_interval(forecast.node_hours, ".0f"),
            )
        )
    return align(rows, rows[0][1:])


def format_validation(basis: Basis) -> str:
    """Every point with its errors, the largest of each kind, and the fit for a system file."""
    points = basis.points
    fitted = relative_errors(basis.step_time, points)
    alone = leave_one_out(points, basis.assumptions)
    rows = [("", "node batch", "nodes", "s/step", "fitted", "error %", "left out, error %")]
    for point, error, unseen in zip(points, fitted, alone, strict=True):
        accumulated = f" x {point.accumulate}" if point.accumulate > 1 else ""
        rows.append(
            (
                point.name,
                f"{point.micro_batch}{accumulated}",
                str(point.nodes),
                f"{point.step_seconds:.4f}",
                f"{point.step_seconds * (1 + error):.4f}",
                f"{100 * error:+.1f}",
                f"{100 * unseen:+.1f}",
            )
        )
    rows.append(("largest", "", "", "", "", _largest(fitted), _largest(alone)))
    lines = [*_halves(basis), "", *_as_toml(basis.step_time)]
    return "\n".join([align(rows, rows[0][1:]), *lines, ""])


def _halves(basis: Basis) -> list[str]:
    """How well every other row forecasts the rest, where they are enough for a fit."""
    points, lines = basis.points, []
    for name, kept, left in (
        ("odd rows forecast the even ones", points[::2], points[1::2]),
        ("even rows forecast the odd ones", points[1::2], points[::2]),
    ):
        try:
            half = fit_step_time(kept, basis.assumptions, name)
        except InputError:
            lines.append(f"{name}: too few")
        else:
            lines.append(f"{name}: within {_largest(relative_errors(half, left))} %")
    return lines


def _as_toml(step_time: StepTime) -> list[str]:
    """The fit as a system file holds it: render-job then has a forecast for the system."""
    own = msgspec.to_builtins(step_time)
    ring = own.pop("ring")
    lines = ["[step_time]", *(f"{key} = {_toml_value(value)}" for key, value in own.items())]
    return [
        *lines,
        "",
        "[step_time.ring]",
        *(f"{key} = {value:.6g}" for key, value in ring.items()),
    ]


def _toml_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    # A text in TOML is escaped as in JSON.
    return msgspec.json.encode(value).decode()


def _largest(errors: Sequence[float]) -> str:
    return f"{100 * max(map(abs, errors)):.1f}"


def _format_interval(interval: Interval, form: str) -> str:
    return f"{interval.value:{form}} ({interval.low:{form}}-{interval.high:{form}})"
