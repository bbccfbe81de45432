"""`hvdtrain predict`: how long a run will take on so many nodes, before it is submitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from hvdtrain.cli.completion import complete_recipe, complete_system
from hvdtrain.cli.forecast_text import (
    make_forecasts_table,
    print_validation,
)
from hvdtrain.cli.options import systems_folder, systems_option
from hvdtrain.cli.output import print_json, say
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.collect.forecast_basis import fit_own, fit_paper, read_stored
from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.forecast import OUTSIDE, make_forecast
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.job.job_plan import plan_run
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.method.run_plan import RunPlan

_EXAMPLE = """\b
Example:
  hvdtrain predict --system stampede2-knl --nodes 256 --nodes 512 --nodes 1024
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--system",
    default="stampede2-knl",
    show_default=True,
    shell_complete=complete_system,
    help="The cluster.",
)
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
@click.option(
    "--recipe",
    shell_complete=complete_recipe,
    help="A name or a TOML file. Default: as in hvdtrain render-job.",
)
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
@wide_option
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
    wide: bool,
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
        basis = fit_own(system, results) if results else fit_paper(system)
        print_validation(basis, wide)
        return
    if not nodes:
        raise InputError("--nodes", None, "the number of nodes, once or several times")
    basis = fit_own(system, results) if results else read_stored(loaded, folder)
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
        print_json(shown)
    else:
        print_table(make_forecasts_table(plans, forecasts), wide)
    for note in (*basis.notes, *_outside(basis.step_time, node_batch, plans)):
        say(f"note: {note}")


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
