"""`hvdtrain render-job`: the Slurm script of a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from hvdtrain.commands.systems_option import systems_folder, systems_option
from hvdtrain.plan.decode import load_toml
from hvdtrain.plan.job import JobPlan, Origin, make_job
from hvdtrain.plan.jobrequest import JobRequest, override_request
from hvdtrain.plan.system import load_system
from hvdtrain.plan.text import require_line

_WORDS = "hvdtrain.words"
_EXAMPLE = """\b
Example:
  hvdtrain render-job --nodes 1536 --data /scratch/imagenet --explain | sbatch
"""


class RecordedCommand(click.Command):
    """A command that keeps the words it was called with, for the header of the script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, then parse them."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=RecordedCommand, epilog=_EXAMPLE)
@click.option("--nodes", type=int, help="Nodes of the job.")
@click.option("--system", help="The cluster: see `hvdtrain systems`. Default: stampede2-knl.")
@click.option("--partition", help="Default: the first that the job fits into.")
@click.option("--ranks-per-node", type=int, help="MPI ranks on a node. Default: the system's.")
@click.option("--comm-cores", type=int, help="Cores of a node that only communicate.")
@click.option("--node-batch", type=int, help="Images that a node computes at once. Default: 32.")
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    help="Batches of a node whose gradients make one update. Default: 1.",
)
@click.option(
    "--recipe",
    help="A name or a TOML file. Default: linear-90, or large-batch-100 from a batch of 16384 on.",
)
@click.option("--epochs", type=float, help="Stretch the recipe to this many epochs.")
@click.option(
    "--data",
    help="Folder of TFRecord shards or images on the cluster, copied to every node when the job "
    "starts; or `synthetic`. Default: the folder that HVDTRAIN_DATA names when the job starts.",
)
@click.option("--results", help="Folder of all runs on the cluster. Default: results.")
@click.option(
    "--walltime", help="HH:MM:SS. Default: the upper end of the forecast, and the start-up."
)
@click.option("--account", help="Slurm's account.")
@click.option("--qos", help="Slurm's QOS. Default: the partition's.")
@click.option("--job-name", help="Default: made of system, nodes and global batch.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Add or replace an #SBATCH directive by its long name. Can be repeated.",
)
@click.option(
    "--unset", multiple=True, metavar="KEY", help="Leave out an #SBATCH directive. Can be repeated."
)
@click.option("--template", help="Name of a shipped template, or path of your own.")
@click.option("--hvdtrain", help="Path of hvdtrain on the cluster. Default: this installation.")
@click.option(
    "--job",
    "job_file",
    type=click.Path(path_type=Path),
    help="TOML file with these options; the command line overrides it.",
)
@systems_option
@click.option("--explain", is_flag=True, help="Print the plan as a table on stderr as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, not the script.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    hvdtrain: str | None,
    settings: tuple[str, ...],
    unset: tuple[str, ...],
    job_file: Path | None,
    systems_dir: Path | None,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Print the Slurm script of a run, and nothing else, on stdout.

    Limits of the site are checked before anything is printed. What else is worth knowing goes to
    stderr.
    """
    request = JobRequest() if job_file is None else load_toml(job_file, JobRequest)
    request = override_request(request, options, settings, unset)
    folder = systems_folder(systems_dir)
    origin = Origin(
        command=shlex.join(["hvdtrain", "render-job", *ctx.meta[_WORDS]]),
        hvdtrain=require_line("--hvdtrain", hvdtrain or _own_path()),
        systems_folder=None if systems_dir is None else require_line("--systems-dir", str(folder)),
    )
    plan = make_job(request, load_system(request.system, folder), origin)
    output = _to_json(plan) if as_json else _to_script(plan)
    for note in plan.notes:
        print(f"hvdtrain: note: {note}", file=sys.stderr)
    if explain:
        _explain(plan)
    # Bytes, because a path may hold letters that the terminal's encoding does not have.
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def _own_path() -> str:
    """The program that is running, as a job can call it."""
    program = Path(sys.argv[0])
    if program.name == "hvdtrain" and program.is_file():
        return str(program.absolute())
    return str(Path(sys.executable).with_name("hvdtrain"))


def _to_script(plan: JobPlan) -> bytes:
    from hvdtrain.slurm.render import render_script

    return render_script(plan).encode()


def _to_json(plan: JobPlan) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plan)) + b"\n"


def _explain(plan: JobPlan) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hvdtrain.plan.describe import describe_job

    table = Table(show_header=False, box=box.SIMPLE)
    for label, text in describe_job(plan):
        table.add_row(Text(label, style="bold"), Text(text))
    Console(stderr=True).print(table)
