"""`hvdtrain dry-run`: a short training run on this machine, the way a cluster runs it."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click

from hvdtrain.cli.completion import complete_recipe
from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.table_output import is_terminal
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.machine import local_mpirun, read_mpi_family, read_topology
from hvdtrain.plan.machine.core_map import CoreMap, make_core_map
from hvdtrain.plan.machine.environment import make_settings
from hvdtrain.processor import itex_may_load, read_processor_flags
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.stack import stack_variables
from hvdtrain.train.checkpoint.interrupt import INTERRUPTED_EXIT_CODE

DEFAULT_STEPS = 12


_EXAMPLE = """\b
Example:
  hvdtrain dry-run --ranks 2 --batch 16 --steps 12
"""


@click.command(epilog=_EXAMPLE)
@click.option("--ranks", type=click.IntRange(1), help="Default: 2, or 1 on a single core.")
@click.option(
    "--batch", type=click.IntRange(1), default=16, show_default=True, help="Images per rank."
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Batches of a rank whose gradients make one update.",
)
@click.option("--steps", type=click.IntRange(1), help=f"Updates. Default: {DEFAULT_STEPS}.")
@click.option("--epochs", type=float, help="Passes over the data, instead of --steps.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of images (train/ and val/) or of TFRecord shards. Default: synthetic images.",
)
@click.option("--model", type=click.Choice(["resnet50", "small"]), default="resnet50")
@click.option("--image-size", type=int, help="Pixels. Default: 224, or 32 for the small model.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32")
@click.option(
    "--recipe",
    default="linear-90",
    show_default=True,
    shell_complete=complete_recipe,
    help="A name or a TOML file.",
)
@click.option(
    "--comm-cores",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Cores that only communicate; 0: communication shares the compute cores.",
)
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of the table.")
def command(
    ranks: int | None,
    batch: int,
    accumulate: int,
    steps: int | None,
    epochs: float | None,
    data: Path | None,
    model: str,
    image_size: int | None,
    precision: str,
    recipe: str,
    comm_cores: int,
    results: Path,
    as_json: bool,
) -> None:
    """Train for a few steps on this machine: real ranks, real reduction, pinned by the core map.

    The ranks run `hvdtrain train`, as on a cluster, and leave a record. On synthetic images the
    record says so: it is never a result to compare with the paper.
    """
    if steps is not None and epochs is not None:
        raise InputError("--steps", steps, "either --steps or --epochs, not both")
    if steps is None and epochs is None:
        steps = DEFAULT_STEPS
    topology = read_topology()
    cores = len(topology.cores)
    if ranks is not None and ranks > cores:
        raise InputError("--ranks", ranks, f"1 to {cores}, one core each", f"--ranks {cores}")
    core_map = make_core_map(topology, ranks or min(2, cores), comm_cores)
    run_id = f"dry-run-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}"
    words = [
        *("--system", "local", "--nodes", "1", "--ranks-per-node", str(len(core_map.ranks))),
        *(
            "--rank-batch",
            str(batch),
            "--accumulate",
            str(accumulate),
            "--model",
            model,
            "--precision",
            precision,
        ),
        *("--recipe", recipe, "--results", str(results), "--run-id", run_id),
        *(("--steps", str(steps)) if steps is not None else ("--epochs", str(epochs))),
        *(("--data", str(data)) if data is not None else ()),
        *(("--image-size", str(image_size)) if image_size is not None else ()),
    ]
    _run_ranks(core_map, words)
    record = load_json(results / run_id / RECORD_FILE, Record)
    if as_json:
        print_json(record)
    else:
        _print_tables(record)
    say(f"record: {results / run_id / RECORD_FILE}")


def _run_ranks(core_map: CoreMap, words: list[str]) -> None:
    """Start the ranks and wait for them; what they print goes to stderr.

    Raises:
        RunError: They failed, or were interrupted.
        SystemExit: They refused the input, and said why.
    """
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ)}
    family = read_mpi_family(environ)
    launcher, launcher_variables = local_mpirun(len(core_map.ranks), family)
    layers = make_settings(core_map, family, itex_may_load(read_processor_flags()))
    environ |= launcher_variables
    environ |= {setting.name: setting.value for layer in layers for setting in layer.settings}
    if sys.stderr.isatty():
        # mpirun passes the terminal on through a pipe; rich takes its word for it.
        environ |= {"TTY_COMPATIBLE": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    command_words = [*launcher, sys.executable, "-m", "hvdtrain", "train", *words]
    with subprocess.Popen(command_words, env=environ, stdout=sys.stderr.fileno()) as ranks:
        try:
            exit_code = ranks.wait()
        except KeyboardInterrupt:
            # The terminal has sent the signal to the ranks as well: let them stop in order.
            exit_code = ranks.wait()
    check_exit(exit_code)


def check_exit(exit_code: int) -> None:
    """Raise unless the ranks ended well.

    Raises:
        RunError: They failed, or were interrupted.
        SystemExit: They refused the input, and said why.
    """
    if exit_code == InputError.exit_code:
        raise SystemExit(InputError.exit_code)
    # Intel's mpirun dies of the Ctrl-C that it has passed on.
    if exit_code in (INTERRUPTED_EXIT_CODE, -signal.SIGINT):
        raise RunError(
            "the dry run was interrupted: its folder holds a checkpoint and no record",
            "start another dry run; `hvdtrain collect` calls this one incomplete",
        )
    if exit_code != 0:
        raise RunError(f"the ranks ended with exit code {exit_code}", "their messages are above")


def _print_tables(record: Record) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    plan = record.plan
    console = Console(width=None if is_terminal() else 120)
    speed = Table(
        title=f"{plan.model.name}, {record.kind} images, {record.status}", box=box.MARKDOWN
    )
    for heading in (
        "ranks",
        "batch per rank",
        "images/s per rank",
        "images/s in all",
        "seconds per step",
        "allreduce",
    ):
        speed.add_column(heading, justify="right")
    total = record.images_per_second
    speed.add_row(
        str(plan.ranks),
        str(plan.rank_batch),
        "-" if total is None else f"{total / plan.ranks:.2f}",
        "-" if total is None else f"{total:.2f}",
        "-" if record.seconds_per_step is None else f"{record.seconds_per_step:.3f}",
        "-" if record.allreduce_share is None else f"{record.allreduce_share:.1%}",
    )
    places = Table(title="thread placement", box=box.MARKDOWN)
    for heading in ("rank", "host", "compute", "communication", "data"):
        places.add_column(heading)
    for place in record.placement:
        places.add_row(str(place.rank), place.host, place.compute, place.communication, place.data)
    with console.capture() as captured:
        console.print(speed)
        console.print(places)
    print_text(captured.get())
