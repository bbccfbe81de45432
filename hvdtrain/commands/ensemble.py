"""`hvdtrain ensemble`: the average of the models of several runs, as Table XI has it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from hvdtrain.runs.ensemble import Ensemble

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
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
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
    from hvdtrain.train.options import EnsembleOptions
    from hvdtrain.train.start import start_ensemble

    made = start_ensemble(EnsembleOptions(runs=runs, data=data))
    if made is None:
        return
    path, ensemble = made
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(ensemble)).decode())
    else:
        click.echo(format_table(ensemble), nl=False)
    print(f"ensemble: {path}", file=sys.stderr)


def format_table(ensemble: Ensemble) -> str:
    """Table XI in Markdown: accuracies in percent, as the paper prints them."""
    lines = [("number", "run", "loss", "top-1 %", "top-5 %")]
    lines += [
        (
            row.number,
            row.run_id,
            f"{row.evaluation.loss:.4f}",
            f"{100 * row.evaluation.top1:.2f}",
            f"{100 * row.evaluation.top5:.2f}",
        )
        for row in ensemble.rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = (str.ljust, str.ljust, str.rjust, str.rjust, str.rjust)
    head, *body = (
        [pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)]
        for line in lines
    )
    rule = ["-" * width if n < 2 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))
