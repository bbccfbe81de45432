"""`hvdtrain dry-run`: a short training run on this machine, the way a cluster runs it."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli.options import option_group
from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.struct_options import make_struct, struct_options
from hvdtrain.cli.table_output import is_terminal
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.files.option_words import field_names, option_words
from hvdtrain.machine import local_mpirun, read_mpi_family, read_topology
from hvdtrain.plan.machine.core_map import CoreMap, make_core_map
from hvdtrain.plan.machine.environment import make_settings
from hvdtrain.plan.method.train_spec import TrainSpec, expand_paths
from hvdtrain.processor import itex_may_load, read_processor_flags
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.stack import stack_variables
from hvdtrain.train.checkpoint.interrupt import INTERRUPTED_EXIT_CODE
from hvdtrain.train.options import TrainOptions

DEFAULT_STEPS = 12
DEFAULT_RANK_BATCH = 16

_EXAMPLE = """\b
Example:
  hvdtrain dry-run --ranks 2 --rank-batch 16 --steps 12
"""


@click.command(epilog=_EXAMPLE)
@click.option("--ranks", type=click.IntRange(1), help="Default: 2, or 1 on a single core.")
@option_group(
    *struct_options(
        TrainOptions,
        field_names(TrainSpec) | {"rank_batch", "results"},
        spellings={"rank_batch": "--batch"},
        defaults={
            "rank_batch": str(DEFAULT_RANK_BATCH),
            "steps": f"{DEFAULT_STEPS}, unless there are --epochs",
        },
    )
)
@click.option(
    "--comm-cores",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Cores that only communicate; 0: communication shares the compute cores.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of the table.")
def command(*, ranks: int | None, comm_cores: int, as_json: bool, **options: Any) -> None:
    """Train for a few steps on this machine: real ranks, real reduction, pinned by the core map.

    The ranks run `hvdtrain train`, as on a cluster, and leave a record. On synthetic images the
    record says so: it is never a result to compare with the paper.
    """
    if options["steps"] is not None and options["epochs"] is not None:
        raise InputError("--steps", options["steps"], "either --steps or --epochs, not both")
    topology = read_topology()
    cores = len(topology.cores)
    if ranks is not None and ranks > cores:
        raise InputError("--ranks", ranks, f"1 to {cores}, one core each", f"--ranks {cores}")
    core_map = make_core_map(topology, ranks or min(2, cores), comm_cores)
    train = _train_options(options, len(core_map.ranks))
    words = option_words(train, field_names(TrainOptions))
    _run_ranks(core_map, [word for option in words for word in option])
    assert train.run_id is not None
    path = train.results / train.run_id / RECORD_FILE
    record = load_json(path, Record)
    if as_json:
        print_json(record)
    else:
        _print_tables(record)
    say(f"record: {path}")


def _train_options(options: Mapping[str, Any], ranks: int) -> TrainOptions:
    """What the ranks are asked for; a dry run is short and small unless the user says otherwise."""
    asked = expand_paths(make_struct(TrainOptions, options))
    whole = asked.steps is not None or asked.epochs is not None
    return msgspec.structs.replace(
        asked,
        nodes=1,
        ranks_per_node=ranks,
        rank_batch=options["rank_batch"] or DEFAULT_RANK_BATCH,
        steps=asked.steps if whole else DEFAULT_STEPS,
        run_id=f"dry-run-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S-%f}",
    )


def _run_ranks(core_map: CoreMap, words: list[str]) -> None:
    """Start the ranks and wait for them; what they print goes to stderr.

    Raises:
        RunError: They failed, or were interrupted.
        SystemExit: They refused the input, and said why.
    """
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ)}
    family = read_mpi_family(environ)
    launcher, environ = local_mpirun(len(core_map.ranks), family, environ)
    layers = make_settings(core_map, family, itex_may_load(read_processor_flags()))
    environ |= {setting.name: setting.value for layer in layers for setting in layer.settings}
    if sys.stderr.isatty():
        # mpirun passes the terminal on through a pipe; rich takes its word for it.
        environ |= {"TTY_COMPATIBLE": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    command_words = [*launcher, sys.executable, "-m", "hvdtrain", "train", *words]
    with subprocess.Popen(
        command_words, env=environ, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()
    ) as ranks:
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
