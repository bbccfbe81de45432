"""The options that describe a job: render-job, submit and sweep share them."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.cli.completion import complete_job_file, complete_recipe, complete_system
from hvdtrain.cli.options import option_group, systems_folder, systems_option
from hvdtrain.cli.output import tell
from hvdtrain.errors import InputError
from hvdtrain.files.decode import load_toml
from hvdtrain.files.fields import require_line
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest, override_request
from hvdtrain.plan.machine.system import load_system

_WORDS = "hvdtrain.words"

_REQUEST = (
    click.option("--nodes", type=int, help="Nodes of the job."),
    click.option(
        "--system",
        shell_complete=complete_system,
        help="The cluster: see `hvdtrain systems`. Default: stampede2-knl.",
    ),
    click.option("--partition", help="Default: the first that the job fits into."),
    click.option("--ranks-per-node", type=int, help="MPI ranks on a node. Default: the system's."),
    click.option("--comm-cores", type=int, help="Cores of a node that only communicate."),
    click.option(
        "--node-batch", type=int, help="Images that a node computes at once. Default: 32."
    ),
    click.option(
        "--accumulate",
        type=click.IntRange(1),
        help="Batches of a node whose gradients make one update. Default: 1.",
    ),
    click.option(
        "--recipe",
        shell_complete=complete_recipe,
        help="A name or a TOML file. Default: linear-90, or large-batch-100 from a batch of "
        "16384 on.",
    ),
    click.option("--epochs", type=float, help="Stretch the recipe to this many epochs."),
    click.option(
        "--data",
        help="Folder of TFRecord shards or images on the cluster, copied to every node when the "
        "job starts; or `synthetic`. Default: the folder that HVDTRAIN_DATA names when the job "
        "starts.",
    ),
    click.option("--results", help="Folder of all runs on the cluster. Default: results."),
    click.option(
        "--walltime", help="HH:MM:SS. Default: the upper end of the forecast, and the start-up."
    ),
    click.option("--account", help="Slurm's account."),
    click.option("--qos", help="Slurm's QOS. Default: the partition's."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY[=VALUE]",
        help="Add or replace an #SBATCH directive by its long name. Can be repeated.",
    ),
    click.option(
        "--unset",
        multiple=True,
        metavar="KEY",
        help="Leave out an #SBATCH directive. Can be repeated.",
    ),
    click.option(
        "--preflight/--no-preflight",
        default=None,
        help="Whether the ranks check each other and their nodes before they train. Default: they "
        "do.",
    ),
    click.option(
        "--attest/--no-attest",
        default=None,
        help="Whether a thread that is not where the core map has it ends the job. Default: it "
        "does.",
    ),
    click.option("--template", help="Name of a shipped template, or path of your own."),
    click.option("--hvdtrain", help="Path of hvdtrain on the cluster. Default: this installation."),
    systems_option,
)
_ONE_JOB = (
    click.option("--job-name", help="Default: made of system, nodes and global batch."),
    click.option(
        "--job",
        "job_file",
        type=click.Path(path_type=Path),
        shell_complete=complete_job_file,
        help="TOML file with these options; the command line overrides it.",
    ),
)


class RecordedCommand(click.Command):
    """A command that keeps the words it was called with, for the header of the script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, then parse them."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)


request_options = option_group(*_REQUEST)
"""Adds the options that say what is wanted of a job."""

job_options = option_group(*_REQUEST, *_ONE_JOB)
"""Adds the options of one job: also its name, and the file that it may come from."""


@dataclass(frozen=True)
class Planner:
    """Makes the plans that the options of a command line ask for.

    Attributes:
        origin: Where the scripts come from.
        systems: The folder of the user's own system files.
        settings: Words of `--set`.
        unset: Words of `--unset`.
        options: The other fields of a `JobRequest`; None: not given.
    """

    origin: ScriptOrigin
    systems: Path
    settings: tuple[str, ...]
    unset: tuple[str, ...]
    options: dict[str, Any]

    def override(self, request: JobRequest) -> JobRequest:
        """The request of a file, with the command line in its place where it says something."""
        return override_request(request, self.options, self.settings, self.unset)

    def plan(self, request: JobRequest) -> JobPlan:
        """The plan of a request.

        Raises:
            InputError: It is not possible.
        """
        return make_job(request, load_system(request.system, self.systems), self.origin)


def make_planner(
    ctx: click.Context,
    *,
    hvdtrain: str | None,
    systems_dir: Path | None,
    settings: tuple[str, ...],
    unset: tuple[str, ...],
    **options: Any,
) -> Planner:
    """The planner of a command that has `request_options`, from what click gave it.

    Raises:
        InputError: A path cannot go into a script, or the folder of system files is not there.
    """
    folder = systems_folder(systems_dir)
    origin = ScriptOrigin(
        command=shlex.join(["hvdtrain", ctx.command.name or "", *ctx.meta[_WORDS]]),
        hvdtrain=require_line("--hvdtrain", hvdtrain or _own_path()),
        systems_folder=None if systems_dir is None else require_line("--systems-dir", str(folder)),
    )
    return Planner(origin, folder, settings, unset, options)


def make_request(planner: Planner, job_file: Path | None) -> JobRequest:
    """The one job that a command with `job_options` asks for.

    Raises:
        InputError: The file does not fit.
    """
    request = JobRequest() if job_file is None else load_toml(job_file, JobRequest)
    return planner.override(request)


def with_whole_path(request: JobRequest) -> JobRequest:
    """The request with the whole path of its results: the job may start in another folder.

    Raises:
        InputError: The path is relative to a working folder that has been removed.
    """
    try:
        return msgspec.structs.replace(request, results=os.path.abspath(request.results))
    except FileNotFoundError:
        raise InputError(
            "--results",
            request.results,
            "a whole path, as the working folder has been removed",
            "change to a folder that exists",
        ) from None


def explain(plan: JobPlan) -> None:
    """The plan as a table, for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hvdtrain.plan.job.summary import describe_job

    table = Table(show_header=False, box=box.SIMPLE)
    for label, text in describe_job(plan):
        table.add_row(Text(label, style="bold"), Text(text))
    console = Console(stderr=True)
    with console.capture() as captured:
        console.print(table)
    tell(captured.get())


def _own_path() -> str:
    """The program that is running, as a job can call it."""
    program = Path(sys.argv[0])
    if program.name == "hvdtrain" and program.is_file():
        return str(program.absolute())
    return str(Path(sys.executable).with_name("hvdtrain"))
