"""The command table. A command's module is imported only when that command runs."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

import click

from hvdtrain import __version__
from hvdtrain.cli.output import say_error, standard_streams
from hvdtrain.errors import HvdtrainError


@dataclass(frozen=True)
class Entry:
    """Where a command lives, and its line in `hvdtrain --help`."""

    module: str
    summary: str


COMMANDS = {
    "render-job": Entry("render_job", "Print the Slurm script of a run."),
    "submit": Entry("submit", "Submit a run to Slurm."),
    "sweep": Entry("sweep", "Submit many runs: a matrix of options from a file."),
    "status": Entry("status", "Show how far all runs are."),
    "cancel": Entry("cancel", "Cancel the jobs of a run."),
    "systems": Entry("systems", "List the clusters, or show one."),
    "cores": Entry("cores", "Draw the core map of a node."),
    "schedule": Entry("schedule", "Show or draw the learning rate of a recipe."),
    "predict": Entry("predict", "Forecast how long a run will take."),
    "dry-run": Entry("dry_run", "Train for a few steps on this machine."),
    "preflight": Entry("preflight", "Check the ranks and their nodes before a training."),
    "train": Entry("train", "What every rank runs."),
    "attempt": Entry("job.attempt", "What a job does before and after its ranks."),
    "collapse": Entry("collapse", "Make models of an ensemble from a run's snapshots."),
    "ensemble": Entry("ensemble", "Average the predictions of the models of runs."),
    "stage": Entry("job.stage", "Copy training data to the nodes."),
    "prepare-data": Entry("prepare_data", "Write TFRecord shards from image folders."),
    "collect": Entry("collect", "Print the paper's tables from the records of runs."),
    "plot": Entry("plot", "Draw the paper's figures, with your runs over them."),
    "report": Entry("report", "Write one page of HTML about all runs, or show it live."),
    "doctor": Entry("doctor", "Check the installation and this machine."),
}


class LazyGroup(click.Group):
    """A click group that knows its commands by name and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None when there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"hvdtrain.commands.{entry.module}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table for `--help`, from the summaries: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hvdtrain")
def cli() -> None:
    """Large-minibatch ResNet-50 on CPU clusters: plan, launch, train, report.

    \b
    Example:
      hvdtrain render-job --nodes 1536 | sbatch
    """


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 ran and failed, 2 wrong input."""
    try:
        with standard_streams():
            cli.main(standalone_mode=True)
    except HvdtrainError as error:
        say_error(error)
        sys.exit(error.exit_code)
