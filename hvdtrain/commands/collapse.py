"""`hvdtrain collapse`: models of an ensemble from the snapshots of a run."""

from __future__ import annotations

from typing import Any

import click

from hvdtrain.cli.options import option_group
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.struct_options import make_struct, struct_options
from hvdtrain.files.fields import require_name
from hvdtrain.train.options import CollapseOptions, RunOptions

_EXAMPLE = """\b
Example:
  mpirun -n 2 hvdtrain collapse results/run --epochs 3
"""


@click.command(epilog=_EXAMPLE)
@click.argument("run", type=PathType(exists=True, file_okay=False))
@click.option("--snapshot", type=click.IntRange(1), help="Only this one. Default: all, in order.")
@click.option("--epochs", type=float, help="Length. Default: what the recipe says; the paper's 3.")
@click.option(
    "--data",
    type=PathType(),
    help="Where the run's data are now. Default: where the run found them.",
)
@click.option(
    "--run-id",
    help="Name of the new run's folder, with --snapshot. Default: the run's, and -collapse-N.",
)
@option_group(*struct_options(RunOptions))
def command(run_id: str | None, **options: Any) -> None:
    """Collapse the snapshots of the run in the folder RUN, as one rank among those of the run.

    A collapse goes on from a snapshot as its recipe's [collapse] says: the paper's decays the
    rate where it left off to 0 with a power of 2, doubles the weight decay and switches scale and
    aspect augmentation off. Each is a run of its own, in a folder beside RUN.

    What has been collapsed is left alone, and a collapse that did not end is continued.
    """
    from hvdtrain.stack import ensure_stack

    ensure_stack()
    from hvdtrain.train.start import started_rank

    if run_id is not None:
        require_name("--run-id", run_id)
    made = make_struct(CollapseOptions, {**options, "run_id": run_id})
    with started_rank(made.run.parent, made.hang_minutes) as context:
        from hvdtrain.train.ensemble.collapse import run_collapses

        run_collapses(made, context)
