"""`hvdtrain train`: what every rank runs."""

from __future__ import annotations

from pathlib import Path

import click

from hvdtrain.cli.completion import complete_recipe, complete_run, complete_system
from hvdtrain.cli.options import run_options
from hvdtrain.files.fields import require_name
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES

_EXAMPLE = """\b
Example:
  mpirun -n 2 hvdtrain train --model small --data cifar10 --epochs 3
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--system",
    default="local",
    show_default=True,
    shell_complete=complete_system,
    help="Name kept in the record.",
)
@click.option("--nodes", type=click.IntRange(1), help="Planned nodes; checked at the start.")
@click.option("--ranks-per-node", type=click.IntRange(1), help="Planned ranks on each node.")
@click.option(
    "--rank-batch", type=click.IntRange(1), default=32, show_default=True, help="Images per rank."
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Batches of a rank whose gradients make one update: K times the global batch.",
)
@click.option(
    "--recipe",
    default="linear-90",
    show_default=True,
    shell_complete=complete_recipe,
    help="A name or a TOML file.",
)
@click.option("--epochs", type=float, help="Stretch the recipe to this many epochs.")
@click.option("--steps", type=click.IntRange(1), help="End the run after this many updates.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of images (train/ and val/) or of TFRecord shards. Default: synthetic images.",
)
@click.option(
    "--images-per-epoch",
    type=click.IntRange(1),
    default=IMAGENET_TRAIN_IMAGES,
    show_default=True,
    help="Images of a synthetic epoch.",
)
@click.option("--model", type=click.Choice(["resnet50", "small"]), default="resnet50")
@click.option("--model-version", type=click.Choice(["v1", "v1.5"]), default="v1")
@click.option("--image-size", type=int, help="Pixels. Default: 224, or 32 for the small model.")
@click.option("--classes", type=int, help="Default: as many as the data has.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True
)
@click.option(
    "--run-id",
    shell_complete=complete_run,
    help="Name of this run's folder. Default: from the time and the plan. A run of this name that "
    "did not end is continued from its last checkpoint.",
)
@click.option(
    "--allow-change",
    is_flag=True,
    help="Continue a run though the recipe, the data, the batch or the number of ranks changed.",
)
@run_options
def command(
    system: str,
    nodes: int | None,
    ranks_per_node: int | None,
    rank_batch: int,
    accumulate: int,
    recipe: str,
    epochs: float | None,
    steps: int | None,
    data: Path | None,
    images_per_epoch: int,
    model: str,
    model_version: str,
    image_size: int | None,
    classes: int | None,
    precision: str,
    seed: int,
    results: Path,
    run_id: str | None,
    checkpoint_minutes: float,
    checkpoint_epochs: int,
    allow_change: bool,
    tensorboard: bool,
    no_attest: bool,
) -> None:
    """Train as one rank. Started by mpirun, srun or ibrun it joins the others; alone it is one.

    The run leaves plan.json, metrics.jsonl and record.json in a folder of its own under the
    results folder. Progress goes to stderr.

    On SIGTERM, SIGUSR1 or SIGINT all ranks finish the same step, write a checkpoint and end with
    exit code 85. The same command with the same --run-id continues the run; on as many ranks and
    threads it ends with the very same weights.
    """
    from hvdtrain.stack import ensure_stack

    ensure_stack()
    from hvdtrain.train.options import TrainOptions
    from hvdtrain.train.start import start_training

    start_training(
        TrainOptions(
            system=system,
            nodes=nodes,
            ranks_per_node=ranks_per_node,
            rank_batch=rank_batch,
            accumulate=accumulate,
            recipe=recipe,
            epochs=epochs,
            steps=steps,
            data=data,
            images_per_epoch=images_per_epoch,
            model=model,
            model_version=model_version,
            image_size=image_size,
            classes=classes,
            precision=precision,
            seed=seed,
            results=results,
            run_id=None if run_id is None else require_name("--run-id", run_id),
            checkpoint_minutes=checkpoint_minutes,
            checkpoint_epochs=checkpoint_epochs,
            allow_change=allow_change,
            tensorboard=tensorboard,
            no_attest=no_attest,
        )
    )
