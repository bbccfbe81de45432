"""The command table. A command's module is imported only when that command runs."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from hvdtrain import __version__
from hvdtrain.cli.output import say, say_error, standard_streams
from hvdtrain.errors import HvdtrainError

# What a shell gives a program that SIGINT has ended: 128 and the number of the signal.
INTERRUPTED = 130


@dataclass(frozen=True)
class Entry:
    """Where a command lives, and its line in `hvdtrain --help`."""

    module: str
    summary: str


SECTIONS = {
    "Plan": {
        "render-job": Entry("render_job", "Print the Slurm script of a run."),
        "predict": Entry("predict", "Forecast how long a run will take."),
        "cores": Entry("cores", "Draw the core map of a node."),
        "schedule": Entry("schedule", "Show or draw the learning rate of a recipe."),
        "systems": Entry("systems", "List the clusters, or show one."),
    },
    "Submit and watch": {
        "submit": Entry("submit", "Submit a run to Slurm."),
        "resume": Entry("resume", "Submit a run again, to go on from its checkpoint."),
        "sweep": Entry("sweep", "Submit many runs: a matrix of options from a file."),
        "status": Entry("status", "Show how far all runs are."),
        "cancel": Entry("cancel", "Cancel the jobs of a run."),
    },
    "Train": {
        "dry-run": Entry("dry_run", "Train for a few steps on this machine."),
        "train": Entry("train", "Train as one rank: mpirun, srun or ibrun start it."),
        "collapse": Entry("collapse", "Make models of an ensemble from a run's snapshots."),
        "ensemble": Entry("ensemble", "Average the predictions of the models of runs."),
        "prepare-data": Entry("prepare_data", "Write TFRecord shards from image folders."),
        "pack": Entry("pack", "Pack this installation into one file for the nodes."),
        "config": Entry("config", "Show your own defaults, or change one."),
        "doctor": Entry("doctor", "Check the installation and this machine."),
    },
    "Results": {
        "collect": Entry("results.collect", "Print the paper's tables from the records of runs."),
        "plot": Entry("results.plot", "Draw the paper's figures, with your runs over them."),
        "report": Entry(
            "results.report", "Write one page of HTML about all runs, or show it live."
        ),
    },
    "Inside a job": {
        "preflight": Entry("job.preflight", "Check the ranks and their nodes before a training."),
        "stage": Entry("job.stage", "Copy training data to the nodes."),
        "attempt": Entry("job.attempt", "Count a job's restarts, and requeue it."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


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

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was named; an error of its options says which command it was."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            command = self.get_command(ctx, name) if name else None
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=name)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The tables for `--help`, from the summaries: nothing is imported."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), entry.summary) for name, entry in entries.items()]
                )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hvdtrain")
def cli() -> None:
    """Large-minibatch ResNet-50 on CPU clusters: plan, launch, train, report.

    \b
    Example:
      hvdtrain render-job --nodes 1536 | sbatch
    """


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 ran and failed, 2 wrong input, 130 ended by Ctrl-C.
    """
    try:
        with standard_streams():
            sys.exit(cli.main(prog_name="hvdtrain", standalone_mode=False))
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        from hvdtrain.cli.usage import explain_usage  # start-up time counts

        _fail(explain_usage(error))
    except HvdtrainError as error:
        _fail(error)
    except click.Abort as abort:
        # Click turns Ctrl-C into the same as a question that was answered with no.
        interrupted = isinstance(abort.__cause__, KeyboardInterrupt)
        say("ended by Ctrl-C" if interrupted else "nothing done")
        sys.exit(INTERRUPTED if interrupted else 1)


def _fail(error: HvdtrainError) -> NoReturn:
    say_error(error)
    sys.exit(error.exit_code)
