"""`hvdtrain schedule`: learning rate, weight decay and augmentation of a recipe, step by step."""

from __future__ import annotations

import itertools
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.completion import complete_recipe
from hvdtrain.cli.output import print_json, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.table_output import print_table
from hvdtrain.collect.figures.schedule import make_paper_schedule_figure
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.phase import round_steps
from hvdtrain.plan.method.recipe import load_recipe, make_schedule
from hvdtrain.plan.method.run_plan import steps_in_epoch
from hvdtrain.plan.method.schedule import Schedule

_EXAMPLE = """\b
Example:
  hvdtrain schedule collapsed-ensemble-120 --global-batch 4096 --plot fig4.png
"""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a schedule.

    Attributes:
        epoch: Epochs before it.
        step: Its number, counted from 0.
        learning_rate: The rate that the update's gradients are multiplied with.
        weight_decay: Coupled L2 factor lambda.
        augment: Whether scale and aspect-ratio augmentation is on.
    """

    epoch: float
    step: int
    learning_rate: float
    weight_decay: float
    augment: bool


@click.command(epilog=_EXAMPLE)
@click.argument("recipe", shell_complete=complete_recipe)
@click.option(
    "--global-batch",
    type=click.IntRange(1, IMAGENET_TRAIN_IMAGES),
    required=True,
    help="Images of one update, over all ranks.",
)
@click.option("--every", type=click.IntRange(1), help="Steps between rows. Default: an epoch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of the rows.")
@click.option(
    "--plot",
    type=PathType(dir_okay=False),
    help="Draw into this file (.png, .pdf, .svg) in place of the table.",
)
def command(
    recipe: str, global_batch: int, every: int | None, as_json: bool, plot: Path | None
) -> None:
    """Show a recipe's learning rate, weight decay and augmentation for a global batch.

    RECIPE is the name of a shipped recipe, or the path of a file ending in .toml. Epochs are those
    of ImageNet-1K.
    """
    steps_per_epoch = steps_in_epoch(IMAGENET_TRAIN_IMAGES, global_batch)
    loaded = load_recipe(recipe, "RECIPE")
    schedule = make_schedule(loaded, global_batch, steps_per_epoch)
    if plot is not None:
        # matplotlib takes longer to import than all the rest of the command to run.
        from hvdtrain.collect.figures.drawing import write_figure

        write_figure(make_paper_schedule_figure(loaded, global_batch), plot, "--plot")
        say(f"wrote {plot}")
    if as_json:
        print_json(make_points(schedule, steps_per_epoch, every))
    elif plot is None:
        print_table(make_table(schedule, steps_per_epoch, every), wide=False)


def make_points(schedule: Schedule, steps_per_epoch: float, every: int | None) -> list[Point]:
    """Every so many steps of a schedule, from its first; None: the first step of every epoch."""
    starts = (round_steps(epoch * steps_per_epoch) for epoch in itertools.count())
    steps = itertools.count(0, every) if every else starts
    return [
        Point(
            epoch=step / steps_per_epoch,
            step=step,
            learning_rate=schedule.learning_rate(step),
            weight_decay=schedule.weight_decay(step),
            augment=schedule.augment(step),
        )
        for step in itertools.takewhile(lambda step: step < schedule.steps, steps)
    ]


def make_table(schedule: Schedule, steps_per_epoch: float, every: int | None) -> Table[Point]:
    """The points as a table, each with its phase, and where the run ends."""
    columns: tuple[Column[Point], ...] = (
        Column("epoch", lambda point: f"{point.epoch:.4g}", number=True, shown="narrow"),
        Column("step", lambda point: point.step, number=True, shown="narrow"),
        Column(
            "learning rate", lambda point: f"{point.learning_rate:.6f}", number=True, shown="narrow"
        ),
        Column("weight decay", lambda point: point.weight_decay, number=True, shown="narrow"),
        Column(
            "augment", lambda point: "on" if point.augment else "off", number=True, shown="narrow"
        ),
        Column("phase", lambda point: schedule.segment(point.step).name, shown="narrow"),
    )
    ends = f"ends after {schedule.steps} steps, {schedule.steps / steps_per_epoch:.4g} epochs"
    if schedule.snapshots:
        epochs = ", ".join(f"{step / steps_per_epoch:.4g}" for step in schedule.snapshots)
        ends += f"; snapshots at epochs {epochs}"
    points = make_points(schedule, steps_per_epoch, every)
    return Table(columns=columns, rows=tuple(points), notes=(ends,))
