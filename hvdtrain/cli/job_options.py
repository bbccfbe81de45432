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

from hvdtrain.cli.completion import complete_job_file
from hvdtrain.cli.config import load_config
from hvdtrain.cli.defaults import choose_system, with_defaults
from hvdtrain.cli.options import option_group, systems_folder, systems_option
from hvdtrain.cli.output import tell
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.struct_options import struct_options
from hvdtrain.files.decode import load_toml
from hvdtrain.files.fields import require_line
from hvdtrain.files.option_words import field_names
from hvdtrain.files.paths import absolute_path, expand_path
from hvdtrain.installation.packed import current_packed
from hvdtrain.plan.job.data_fit import MANY_FILES, DataSize
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import DATA_VARIABLE, JobRequest, override_request
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.method.train_spec import expand_paths
from hvdtrain.slurm.cluster import this_cluster
from hvdtrain.staging.measure import measure_data

_WORDS = "hvdtrain.words"

# Slurm's own.
_SHORT = {
    "nodes": "-N",
    "walltime": "-t",
    "account": "-A",
    "partition": "-p",
    "job_name": "-J",
    "qos": "-q",
}
# Directives come with --set and --unset; the rows of a sweep are named after it.
_FIELDS = field_names(JobRequest) - {"set_directives", "unset_directives", "job_name"}

_REQUEST = (
    *struct_options(JobRequest, _FIELDS, spellings=_SHORT),
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
    click.option("--hvdtrain", help="Path of hvdtrain on the cluster. Default: this installation."),
    systems_option,
)
_NAME = struct_options(JobRequest, {"job_name"}, spellings=_SHORT)
_ONE_JOB = (
    *_NAME,
    click.option(
        "--job",
        "job_file",
        type=PathType(),
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

run_options = option_group(*_REQUEST, *_NAME)
"""Adds the options of a job of a run that is there."""

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
        """The request of a file, with the command line in its place where it says something.

        Raises:
            InputError: A directive is given twice, or a variable is left in a path.
        """
        return expand_paths(override_request(request, self.options, self.settings, self.unset))

    def plan(self, request: JobRequest, *, submitted: bool = False) -> JobPlan:
        """The plan of a request. What it does not say, the user's defaults do.

        Args:
            request: As `override` gives it.
            submitted: Whether it goes to Slurm at once. The folder of the results is then named by
                its whole path, as the job may start in another folder, and a folder of data that
                is not on this machine is noted.

        Raises:
            InputError: It is not possible.
        """
        config = load_config()
        choice = choose_system(request.system, config, self.systems, this_cluster)
        system = load_system(choice.system, self.systems)
        request = msgspec.structs.replace(request, system=system.name)
        request = with_defaults(request, system, config, os.environ)
        if submitted:
            results = absolute_path("--results", request.results)
            request = msgspec.structs.replace(request, results=results)
        plan = make_job(request, system, self.origin, _look_at_data(request))
        notes = [choice.note, *plan.notes, _data_note(plan) if submitted else ""]
        return msgspec.structs.replace(plan, notes=tuple(filter(None, notes)))


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
    program = expand_path("--hvdtrain", hvdtrain) if hvdtrain else _own_path()
    packed = None if hvdtrain else current_packed()
    origin = ScriptOrigin(
        command=shlex.join(["hvdtrain", ctx.command.name or "", *ctx.meta[_WORDS]]),
        hvdtrain=require_line("--hvdtrain", program),
        systems_folder=None if systems_dir is None else require_line("--systems-dir", str(folder)),
        packed=packed,
        may_pack=packed is None and not hvdtrain,
    )
    return Planner(origin, folder, settings, unset, options)


def make_request(planner: Planner, job_file: Path | None) -> JobRequest:
    """The one job that a command with `job_options` asks for.

    Raises:
        InputError: The file does not fit.
    """
    request = JobRequest() if job_file is None else load_toml(job_file, JobRequest)
    return planner.override(request)


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


def _look_at_data(request: JobRequest) -> DataSize | None:
    """How much the nodes will copy; None: the folder is not known, or not on this machine."""
    data = request.data or os.environ.get(DATA_VARIABLE)
    if data is None or request.is_synthetic or not os.path.isdir(data):
        return None
    try:
        files, size_bytes, more = measure_data(Path(data), MANY_FILES)
    except OSError:  # whoever may not read it here may read it on the nodes
        return None
    return DataSize(files=files, size_bytes=size_bytes, more=more)


def _data_note(plan: JobPlan) -> str:
    """What to say when the folder of the data is not on this machine."""
    data = plan.request.data or os.environ.get(DATA_VARIABLE)
    if data is None or plan.request.is_synthetic or os.path.isdir(data):
        return ""
    return f"there is no folder {data!r} on this machine; the nodes of the job must have it"


def _own_path() -> str:
    """The program that is running, as a job can call it."""
    program = Path(sys.argv[0])
    if program.name == "hvdtrain" and program.is_file():
        return str(program.absolute())
    return str(Path(sys.executable).with_name("hvdtrain"))
