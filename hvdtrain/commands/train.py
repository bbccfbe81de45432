"""`hvdtrain train`: what every rank runs."""

from __future__ import annotations

from typing import Any

import click

from hvdtrain.cli.options import option_group
from hvdtrain.cli.struct_options import make_struct, struct_options
from hvdtrain.files.fields import require_name
from hvdtrain.plan.method.train_spec import expand_paths
from hvdtrain.train.options import TrainOptions

_EXAMPLE = """\b
Example:
  mpirun -n 2 hvdtrain train --model small --data cifar10 --epochs 3
"""

train_options = option_group(*struct_options(TrainOptions))
"""Adds the options of a training; a preflight has them too, for both lines of a job are alike."""


def make_train_options(options: dict[str, Any]) -> TrainOptions:
    """The options of a command that has `train_options`.

    Raises:
        InputError: The run's name cannot be that of a folder, or a variable is left in a path.
    """
    made = expand_paths(make_struct(TrainOptions, options))
    if made.run_id is not None:
        require_name("--run-id", made.run_id)
    return made


@click.command(epilog=_EXAMPLE)
@train_options
def command(**options: Any) -> None:
    """Train as one rank. Started by mpirun, srun or ibrun it joins the others; alone it is one.

    The run leaves plan.json, metrics.jsonl and record.json in a folder of its own under the
    results folder. Progress goes to stderr.

    On SIGTERM, SIGUSR1 or SIGINT all ranks finish the same step, write a checkpoint and end with
    exit code 85. The same command with the same --run-id continues the run; on as many ranks and
    threads it ends with the very same weights.
    """
    from hvdtrain.stack import ensure_stack

    ensure_stack()
    from hvdtrain.train.start import started_rank

    made = make_train_options(options)
    with started_rank(made.results, made.hang_minutes, made.run_id) as context:
        from hvdtrain.train.run import run_training

        run_training(made, context)
