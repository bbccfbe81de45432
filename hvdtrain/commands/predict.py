"""`hvdtrain predict`: how long a run will take on so many nodes, before it is submitted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from hvdtrain.commands.output import align
from hvdtrain.commands.systems_option import systems_folder, systems_option
from hvdtrain.errors import InputError
from hvdtrain.plan.fit import (
    Assumptions,
    Point,
    fit_step_time,
    leave_one_out,
    own_assumptions,
    relative_errors,
    with_error,
)
from hvdtrain.plan.forecast import OUTSIDE, Forecast, Interval, make_forecast
from hvdtrain.plan.job import plan_run
from hvdtrain.plan.jobrequest import JobRequest
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.plan.runplan import RunPlan
from hvdtrain.plan.steptime import StepTime
from hvdtrain.plan.system import System, load_system, system_files
from hvdtrain.units import format_duration

_EXAMPLE = """\b
Example:
  hvdtrain predict --system stampede2-knl --nodes 256 --nodes 512 --nodes 1024
"""


@dataclass(frozen=True)
class Basis:
    """What a forecast rests on.

    Attributes:
        step_time: Fitted.
        points: What to; empty when it was read from the system file.
        assumptions: Of the fit.
        model: What the steps trained.
        notes: What the user should know of it.
    """

    step_time: StepTime
    points: tuple[Point, ...]
    assumptions: Assumptions
    model: ModelSpec
    notes: tuple[str, ...] = ()


@click.command(epilog=_EXAMPLE)
@click.option("--system", default="stampede2-knl", show_default=True, help="The cluster.")
@click.option(
    "--nodes", type=click.IntRange(1), multiple=True, help="Nodes of the run. Can be repeated."
)
@click.option(
    "--node-batch",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Images that a node computes at once.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Batches of a node whose gradients make one update.",
)
@click.option("--recipe", help="A name or a TOML file. Default: as in hvdtrain render-job.")
@click.option("--epochs", type=float, help="Stretch the recipe to this many epochs.")
@click.option(
    "--fit",
    "results",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Fit the step time to the completed runs in this folder, measured and synthetic.",
)
@click.option(
    "--validate",
    is_flag=True,
    help="Show every row, its error, its error when forecast from the others, and the fit as a "
    "system file holds it.",
)
@systems_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object for each --nodes.")
def command(
    system: str,
    nodes: tuple[int, ...],
    node_batch: int,
    accumulate: int,
    recipe: str | None,
    epochs: float | None,
    results: Path | None,
    validate: bool,
    systems_dir: Path | None,
    as_json: bool,
) -> None:
    """Forecast the time of a run: per step, per epoch, and in all, with what to expect at most.

    A step is the computation of a node's batch and what shows of the ring allreduce over the nodes.
    The interval is the largest error of a row that is forecast from all others, and twice as wide
    outside of the nodes and batches that were fitted. Evaluations and start-up are not counted.

    With one --nodes the JSON is one object; with several it has one for each, by the number of
    nodes.
    """
    folder = systems_folder(systems_dir)
    loaded = load_system(system, folder)
    if validate:
        if nodes or as_json:
            raise InputError("--validate", "with --nodes or --json", "--validate without them")
        basis = _fit_own(system, results) if results else _fit_paper(system)
        click.echo(format_validation(basis), nl=False)
        return
    if not nodes:
        raise InputError("--nodes", None, "the number of nodes, once or several times")
    basis = _fit_own(system, results) if results else _stored(loaded, folder)
    request = JobRequest(
        system=system,
        node_batch=node_batch,
        accumulate=accumulate,
        recipe=recipe,
        epochs=epochs,
        model=basis.model,
    )
    plans = [plan_run(request, loaded, count) for count in dict.fromkeys(nodes)]
    forecasts = [make_forecast(plan, basis.step_time) for plan in plans]
    if as_json:
        found = dict(zip(map(str, dict.fromkeys(nodes)), forecasts, strict=True))
        shown = forecasts[0] if len(forecasts) == 1 else found
        click.echo(msgspec.json.format(msgspec.json.encode(shown)))
    else:
        click.echo(format_forecasts(plans, forecasts), nl=False)
    for note in (*basis.notes, *_outside(basis.step_time, node_batch, plans)):
        print(f"hvdtrain: note: {note}", file=sys.stderr)


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


def _outside(step_time: StepTime, node_batch: int, plans: Sequence[RunPlan]) -> list[str]:
    outside = [str(plan.nodes) for plan in plans if not step_time.is_fitted(node_batch, plan.nodes)]
    if not outside:
        return []
    fewest, most = step_time.fitted_nodes
    smallest, largest = step_time.fitted_batch
    return [
        f"{', '.join(outside)} nodes x {node_batch} images lie outside of what was fitted, "
        f"{fewest} to {most} nodes x {smallest} to {largest} images: "
        f"the interval is {OUTSIDE:g} times as wide"
    ]


def _stored(system: System, folder: Path) -> Basis:
    """The step time of the system file.

    Raises:
        InputError: It has none.
    """
    if system.step_time is None:
        known = [
            name for name in system_files(folder) if load_system(name, folder).step_time is not None
        ]
        raise InputError(
            "--system",
            system.name,
            f"a system with a step time: {', '.join(sorted(known))}",
            "--fit RESULTS fits one to your own runs on it",
        )
    return Basis(
        step_time=system.step_time,
        points=(),
        assumptions=Assumptions(),
        model=ModelSpec(),
        notes=(system.step_time.source,),
    )


def _fit_paper(system: str) -> Basis:
    from hvdtrain.collect.steps import TABLE_OF, paper_assumptions, paper_points

    points = paper_points(system)
    return _fit(points, paper_assumptions(system), ModelSpec(), f"Table {TABLE_OF[system]}", ())


def _fit_own(system: str, results: Path) -> Basis:
    """The step time that the runs in a folder have.

    Raises:
        InputError: There are too few.
    """
    from hvdtrain.collect.steps import own_steps
    from hvdtrain.collect.store import Malformed, read_results
    from hvdtrain.plan.record import Record

    found = list(read_results(results))
    steps = own_steps((run for run in found if isinstance(run, Record)), system)
    notes = []
    unreadable = sum(isinstance(run, Malformed) for run in found)
    if unreadable:
        notes.append(f"{unreadable} runs in {results} cannot be read: see hvdtrain collect")
    if steps.other_models:
        notes.append(
            f"{steps.other_models} runs with another model than {steps.model.name} are left out"
        )
    source = f"fitted to {steps.runs} runs, {steps.synthetic} of them on synthetic images"
    notes.append(source)
    return _fit(steps.points, own_assumptions(steps.points), steps.model, source, tuple(notes))


def _fit(
    points: tuple[Point, ...],
    assumptions: Assumptions,
    model: ModelSpec,
    source: str,
    notes: tuple[str, ...],
) -> Basis:
    fitted = fit_step_time(points, assumptions, source)
    return Basis(
        step_time=with_error(fitted, leave_one_out(points, assumptions)),
        points=points,
        assumptions=assumptions,
        model=model,
        notes=notes,
    )
