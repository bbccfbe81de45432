"""`hvdtrain ensemble`: the average of the models of several runs, as Table XI has it."""

from __future__ import annotations

from pathlib import Path

import click

from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.runs.ensemble import Ensemble, EnsembleRow

_EXAMPLE = """\b
Example:
  mpirun -n 2 hvdtrain ensemble results/run-collapse-[2-6]
"""


@click.command(epilog=_EXAMPLE)
@click.argument(
    "runs",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=PathType(exists=True, file_okay=False),
)
@click.option(
    "--data",
    type=PathType(),
    help="Where the runs' data are now. Default: where the first run found them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result instead of the table.")
def command(runs: tuple[Path, ...], data: Path | None, as_json: bool) -> None:
    """Average the softmax outputs of the final weights of the runs in the folders RUN.

    Started by mpirun, srun or ibrun the ranks share the validation images; each is evaluated once.
    The table is Table XI of the paper: each snapshot, its model, and the ensemble. The result is
    also kept in a folder of its own beside the first run.
    """
    from hvdtrain.stack import ensure_stack

    ensure_stack()
    from hvdtrain.train.options import EnsembleOptions, RunOptions
    from hvdtrain.train.start import started_rank

    with started_rank(runs[0].parent, RunOptions().hang_minutes) as context:
        from hvdtrain.train.ensemble.evaluate import run_ensemble

        made = run_ensemble(EnsembleOptions(runs=runs, data=data), context)
    if made is None:
        return
    path, ensemble = made
    if as_json:
        print_json(ensemble)
    else:
        print_text(format_tables([make_table(ensemble)], "md"))
    say(f"ensemble: {path}")


def make_table(ensemble: Ensemble) -> Table[EnsembleRow]:
    """Table XI: accuracies in percent, as the paper prints them."""
    return Table(columns=_COLUMNS, rows=ensemble.rows)


def format_loss(loss: float | None) -> str:
    """A loss; None: it is not finite."""
    return "not finite" if loss is None else f"{loss:.4f}"


_COLUMNS: tuple[Column[EnsembleRow], ...] = (
    Column("number", lambda row: row.number),
    Column("run", lambda row: row.run_id),
    Column("loss", lambda row: format_loss(row.evaluation.loss), number=True),
    Column("top-1", lambda row: f"{100 * row.evaluation.top1:.2f}", unit="%", number=True),
    Column("top-5", lambda row: f"{100 * row.evaluation.top5:.2f}", unit="%", number=True),
)
