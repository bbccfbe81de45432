"""`hvdtrain predict`: how long a run will take on so many nodes, before it is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli.defaults import find_system, system_option
from hvdtrain.cli.forecast_text import (
    make_forecasts_table,
    make_validation,
    print_validation,
)
from hvdtrain.cli.options import option_group, systems_folder, systems_option
from hvdtrain.cli.output import print_json, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.struct_options import make_struct, struct_options
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.collect.forecast_basis import fit_own, fit_paper, read_stored
from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.forecast import OUTSIDE, make_forecast
from hvdtrain.plan.forecast.gradient_groups import FEWEST_BYTES, group_bytes
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.job.asked_run import plan_run
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.train_spec import model_fields

_EXAMPLE = """\b
Example:
  hvdtrain predict --system stampede2-knl --nodes 256 --nodes 512 --nodes 1024
"""


# What chooses the model, and what else decides how long a run takes.
_MODEL = ("model", "model_version", "image_size", "classes", "precision")
_RUN = ("node_batch", "accumulate", "recipe", "epochs")


@click.command(epilog=_EXAMPLE)
@system_option
@click.option(
    "--nodes", type=click.IntRange(1), multiple=True, help="Nodes of the run. Can be repeated."
)
@option_group(*struct_options(JobRequest, {*_MODEL, *_RUN}))
@click.option(
    "--fit",
    "results",
    type=PathType(),
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
@wide_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object for each --nodes.")
def command(
    *,
    name: str | None,
    nodes: tuple[int, ...],
    results: Path | None,
    validate: bool,
    systems_dir: Path | None,
    wide: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Forecast the time of a run: per step, per epoch, and in all, with what to expect at most.

    A step is the computation of a node's batch and what shows of the ring allreduce over the nodes.
    The interval is the largest error of a row that is forecast from all others, and twice as wide
    outside of the nodes and batches that were fitted. Evaluations and start-up are not counted.

    With one --nodes the JSON is one object; with several it has one for each, by the number of
    nodes.
    """
    folder = systems_folder(systems_dir)
    loaded = find_system(name, folder)
    system = loaded.name
    request = make_struct(JobRequest, {**options, "system": system})
    asked = any(options[field] is not None for field in _MODEL)
    model = request.model_for(request.unseen_classes) if asked else None
    if validate:
        if nodes:
            raise InputError("--validate", "with --nodes", "--validate without --nodes")
        basis = fit_own(system, results, model) if results else fit_paper(system)
        print_json(make_validation(basis)) if as_json else print_validation(basis, wide)
        return
    if not nodes:
        raise InputError("--nodes", None, "the number of nodes, once or several times")
    basis = fit_own(system, results, model) if results else read_stored(loaded, folder)
    _check_model(basis.model, model)
    request = msgspec.structs.replace(request, **model_fields(basis.model))
    plans = [plan_run(request, loaded, count) for count in dict.fromkeys(nodes)]
    forecasts = [make_forecast(plan, basis.step_time) for plan in plans]
    if as_json:
        found = dict(zip(map(str, dict.fromkeys(nodes)), forecasts, strict=True))
        shown = forecasts[0] if len(forecasts) == 1 else found
        print_json(shown)
    else:
        print_table(make_forecasts_table(plans, forecasts), wide)
    outside = _outside(basis.step_time, request.node_batch, plans)
    for note in (*basis.notes, *outside, *_large_groups(plans)):
        say(f"note: {note}")


def _large_groups(plans: Sequence[RunPlan]) -> Iterator[str]:
    """Where the gradients leave in larger groups than for the sake of overlap alone."""
    for plan in plans:
        most = group_bytes(plan.ranks)
        if most > FEWEST_BYTES:
            yield (
                f"{plan.ranks} ranks reduce gradients in groups of {most / 1e6:.1f} MB: in smaller "
                "ones a ring would wait for its messages longer than for their bytes"
            )


def _check_model(fitted: ModelSpec, asked: ModelSpec | None) -> None:
    """Refuse a model that the step time says nothing of.

    Raises:
        InputError: Another model was asked for.
    """
    if asked not in (None, fitted):
        raise InputError(
            "--model",
            asked.label,
            f"the step time was fitted to {fitted.label}, and says nothing of another model",
            "--fit RESULTS fits one to your own runs of this model",
        )


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
