"""`hvdtrain plot`: the paper's figures, with your own runs' points over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from hvdtrain.cli.completion import complete_recipe
from hvdtrain.cli.output import say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.readable_runs import readable_runs, refuse_skipped
from hvdtrain.collect.figures.accuracy import make_accuracy_figure, read_accuracies
from hvdtrain.collect.figures.curves import make_timeline
from hvdtrain.collect.figures.model import Figure
from hvdtrain.collect.figures.scaling import make_scaling_figure
from hvdtrain.collect.figures.schedule import make_paper_schedule_figure
from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.runs_table import make_rows
from hvdtrain.errors import InputError
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.runs.metrics import read_metrics
from hvdtrain.runs.names import METRICS_FILE
from hvdtrain.runs.store import Malformed

# Points of a curve: more than a page has pixels across.
_POINTS = 4000
_F = TypeVar("_F", bound=Callable[..., None])

_EXAMPLE = """\b
Example:
  hvdtrain plot scaling results -o scaling.svg
"""


@click.group(epilog=_EXAMPLE)
def command() -> None:
    """Draw the paper's figures, with your own runs' points over them."""


def _output(function: _F) -> _F:
    """The option that names the file."""
    return click.option(
        "--output",
        "-o",
        required=True,
        type=PathType(dir_okay=False),
        help="The file; its ending says which kind: .png, .svg, .pdf.",
    )(function)


@command.command(epilog="\b\nExample:\n  hvdtrain plot scaling results -o scaling.png")
@click.argument("results", required=False, type=PathType())
@_output
def scaling(results: Path | None, output: Path) -> None:
    """Speedup and efficiency over the nodes: Figures 1 and 2.

    Without a folder RESULTS only the paper's points are drawn.
    """
    skipped: list[Malformed] = []
    rows = make_rows(map(make_run, readable_runs(results, skipped))) if results else []
    _write(make_scaling_figure(rows), output)
    refuse_skipped(skipped, len(rows))


@command.command(
    epilog="\b\nExample:\n  hvdtrain plot schedule large-batch-107 --global-batch 65536 -o fig3.png"
)
@click.argument("recipe", shell_complete=complete_recipe)
@click.option(
    "--global-batch",
    type=click.IntRange(1, IMAGENET_TRAIN_IMAGES),
    required=True,
    help="Images of one update, over all ranks.",
)
@_output
def schedule(recipe: str, global_batch: int, output: Path) -> None:
    """Learning rate, weight decay and augmentation of a recipe: Figures 3 and 4.

    RECIPE is the name of a shipped recipe, or the path of a file ending in .toml. The recipes of
    the two figures get the points that the paper's text gives.
    """
    _write(make_paper_schedule_figure(load_recipe(recipe, "RECIPE"), global_batch), output)


@command.command(epilog="\b\nExample:\n  hvdtrain plot accuracy results -o accuracy.svg")
@click.argument("results", required=False, type=PathType())
@_output
def accuracy(results: Path | None, output: Path) -> None:
    """Top-1 accuracy of the runs, epoch by epoch, over the paper's values.

    Without a folder RESULTS only the paper's values are drawn.
    """
    skipped: list[Malformed] = []
    runs = read_accuracies(results, readable_runs(results, skipped)) if results else []
    _write(make_accuracy_figure(runs), output)
    refuse_skipped(skipped, len(runs))


@command.command(epilog="\b\nExample:\n  hvdtrain plot timeline results/my-run -o timeline.pdf")
@click.argument("run", type=PathType())
@_output
def timeline(run: Path, output: Path) -> None:
    """Where the wall time of a run went: steps, allreduce, evaluations, checkpoints.

    RUN is the folder of a run.
    """
    metrics = read_metrics(run)
    if not metrics.steps:
        reason = f" ({metrics.reason})" if metrics.reason else ""
        allowed = f"the folder of a run whose {METRICS_FILE} has a step{reason}"
        raise InputError("RUN", str(run), allowed)
    _write(make_timeline(metrics, f"Timeline of {run.resolve().name}", _POINTS), output)


def _write(figure: Figure, output: Path) -> None:
    # matplotlib takes longer to import than all the rest of the command to run.
    from hvdtrain.collect.figures.drawing import write_figure

    write_figure(figure, output, "--output")
    say(f"wrote {output}")
