"""A forecast and the check of its fit, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from hvdtrain.cli.output import print_text
from hvdtrain.cli.table_output import print_table
from hvdtrain.collect.forecast_basis import Basis
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.errors import InputError
from hvdtrain.files.toml import toml_lines
from hvdtrain.plan.forecast.fit import Point, fit_step_time, leave_one_out, relative_errors
from hvdtrain.plan.forecast.forecast import Forecast, Interval
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.units import format_duration


def make_forecasts_table(
    plans: Sequence[RunPlan], forecasts: Sequence[Forecast]
) -> Table[tuple[RunPlan, Forecast]]:
    """A row for each number of nodes, each value with its interval."""
    return Table(columns=_FORECAST_COLUMNS, rows=tuple(zip(plans, forecasts, strict=True)))


def print_validation(basis: Basis, wide: bool) -> None:
    """Every point with its errors, the largest of each kind, and the fit for a system file."""
    checked = make_validation(basis)
    fitted, alone = checked.errors, checked.left_out_errors
    rows = [_check(*each) for each in zip(basis.points, fitted, alone, strict=True)]
    rows.append(_Check(name="largest", error=_largest(fitted), left_out=_largest(alone)))
    print_table(Table(columns=_CHECK_COLUMNS, rows=tuple(rows)), wide)
    lines = [*_halves(basis), "", *_as_toml(basis.step_time)]
    print_text("\n".join(["", *lines, ""]))


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """The check of a fit, for programs.

    Attributes:
        step_time: The fit, as a system file holds it.
        points: The measured steps.
        errors: Of each point, relative: what the fit says, divided by what was measured, less 1.
        left_out_errors: Likewise, by a fit to all other points.
    """

    step_time: StepTime
    points: tuple[Point, ...]
    errors: tuple[float, ...]
    left_out_errors: tuple[float, ...]


def make_validation(basis: Basis) -> Validation:
    """The check of a fit."""
    return Validation(
        step_time=basis.step_time,
        points=basis.points,
        errors=tuple(relative_errors(basis.step_time, basis.points)),
        left_out_errors=tuple(leave_one_out(basis.points, basis.assumptions)),
    )


@dataclass(frozen=True, kw_only=True)
class _Check:
    """A row of the validation, as it is printed."""

    name: str
    node_batch: str = ""
    nodes: str = ""
    step_seconds: str = ""
    fitted: str = ""
    error: str
    left_out: str


def _check(point: Point, error: float, unseen: float) -> _Check:
    accumulated = f" x {point.accumulate}" if point.accumulate > 1 else ""
    return _Check(
        name=point.name,
        node_batch=f"{point.micro_batch}{accumulated}",
        nodes=str(point.nodes),
        step_seconds=f"{point.step_seconds:.4f}",
        fitted=f"{point.step_seconds * (1 + error):.4f}",
        error=f"{100 * error:+.1f}",
        left_out=f"{100 * unseen:+.1f}",
    )


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
    inner = {name: own.pop(name) for name in ("model", "ring")}
    lines = ["[step_time]", *toml_lines(own)]
    for name, table in inner.items():
        lines += ["", f"[step_time.{name}]", *toml_lines(table)]
    return lines


def _largest(errors: Sequence[float]) -> str:
    return f"{100 * max(map(abs, errors)):.1f}"


def _format_interval(interval: Interval, form: str) -> str:
    return f"{interval.value:{form}} ({interval.low:{form}}-{interval.high:{form}})"


def _interval(
    interval_of: Callable[[Forecast], Interval], form: str
) -> Callable[[tuple[RunPlan, Forecast]], str]:
    return lambda row: _format_interval(interval_of(row[1]), form)


def _time_to_train(row: tuple[RunPlan, Forecast]) -> str:
    minutes = row[1].minutes_to_train
    return f"{format_duration(minutes.value * 60)} (<= {format_duration(minutes.high * 60)})"


_FORECAST_COLUMNS: tuple[Column[tuple[RunPlan, Forecast]], ...] = (
    Column("nodes", lambda row: row[0].nodes, shown="narrow"),
    Column("global batch", lambda row: row[0].global_batch, number=True),
    Column("s/step", _interval(lambda f: f.step_seconds, ".3f"), number=True),
    Column("s/epoch", _interval(lambda f: f.epoch_seconds, ".1f"), number=True, shown="narrow"),
    Column("images/s", _interval(lambda f: f.images_per_second, ".0f"), number=True),
    Column("efficiency", _interval(lambda f: f.efficiency, ".0%"), number=True, shown="narrow"),
    Column("time to train", _time_to_train, number=True, shown="narrow"),
    Column("node-hours", _interval(lambda f: f.node_hours, ".0f"), number=True, shown="narrow"),
)
_CHECK_COLUMNS: tuple[Column[_Check], ...] = (
    Column("", lambda check: check.name, shown="narrow"),
    Column("node batch", lambda check: check.node_batch, number=True, shown="narrow"),
    Column("nodes", lambda check: check.nodes, number=True, shown="narrow"),
    Column("s/step", lambda check: check.step_seconds, number=True, shown="narrow"),
    Column("fitted", lambda check: check.fitted, number=True, shown="narrow"),
    Column("error", lambda check: check.error, unit="%", number=True, shown="narrow"),
    Column("left out, error", lambda check: check.left_out, unit="%", number=True, shown="narrow"),
)
