"""What a job gets that no option and no job file says: from sbatch's variables, or from the user.

The order is: option, job file, variables that sbatch takes, the user's defaults, the system's file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.completion import complete_system
from hvdtrain.cli.config import Config, load_config
from hvdtrain.cli.output import say
from hvdtrain.errors import InputError
from hvdtrain.plan.job.request import DATA_VARIABLE, JobRequest
from hvdtrain.plan.machine.system import System, load_system, system_files
from hvdtrain.slurm.cluster import this_cluster

PAPERS_SYSTEM = "stampede2-knl"
"""Of the paper: what a script is for when nobody says anything else."""

system_option = click.option(
    "--system",
    "name",
    shell_complete=complete_system,
    help="The cluster. Default: the one of `hvdtrain config`, else the one that this runs on, "
    "else stampede2-knl.",
)

# Directives that are the user's own affair.
_MAIL = {"mail-user": "mail_user", "mail-type": "mail_type"}


@dataclass(frozen=True)
class Choice:
    """A system that was chosen.

    Attributes:
        system: Its name.
        note: What to say about the choice; empty: it was made by name.
    """

    system: str
    note: str = ""


def choose_system(
    asked: str | None, config: Config, folder: Path, this_cluster: Callable[[], str | None]
) -> Choice:
    """The system that was asked for, or the user's, or the one that this runs on, or the paper's.

    Args:
        asked: By an option or a job file; None: none.
        config: The user's defaults.
        folder: Of the user's own system files.
        this_cluster: What Slurm calls the cluster that this runs on; None: there is no Slurm.

    Raises:
        InputError: The cluster has several kinds of nodes.
    """
    if asked is not None or config.system is not None:
        return Choice(asked or config.system or "")
    cluster = this_cluster()
    names = [] if cluster is None else _systems_of(cluster, folder)
    if len(names) > 1:
        raise InputError(
            "--system",
            None,
            f"one of {', '.join(names)}: this cluster, {cluster}, has several kinds of nodes",
            f"--system {names[0]}; hvdtrain config set system {names[0]} makes it the default",
        )
    if names:
        return Choice(names[0], f"no --system: {names[0]}, the cluster that this runs on")
    return Choice(
        PAPERS_SYSTEM,
        f"no --system: {PAPERS_SYSTEM}, the paper's; `hvdtrain config set system NAME` chooses "
        "another one for good",
    )


def find_system(asked: str | None, folder: Path) -> System:
    """The system that a command is about; a choice that nobody made is noted on stderr.

    Raises:
        InputError: As of `choose_system`, or there is no such system, or its file does not fit.
    """
    choice = choose_system(asked, load_config(), folder, this_cluster)
    if choice.note:
        say(f"note: {choice.note}")
    return load_system(choice.system, folder)


def with_defaults(
    request: JobRequest, system: System, config: Config, environ: Mapping[str, str]
) -> JobRequest:
    """The request with what it does not say filled in."""
    said = {*request.set_directives, *request.unset_directives}
    defaults: dict[str, str | None] = {}
    if "account" not in said:
        defaults["account"] = environ.get("SBATCH_ACCOUNT") or config.account
    # Where jobs go is a matter of the system that it was set for.
    own = config if config.system in (None, system.name) else Config()
    if "partition" not in said:
        defaults["partition"] = _partition(environ.get("SBATCH_PARTITION"), system) or own.partition
    if "qos" not in said:
        defaults["qos"] = environ.get("SBATCH_QOS") or own.qos
    if DATA_VARIABLE not in environ:
        defaults["data"] = config.data
    missing = {key: value for key, value in defaults.items() if getattr(request, key) is None}
    if request.results == JobRequest().results and config.results is not None:
        missing["results"] = config.results
    mail = {
        directive: value
        for directive, key in _MAIL.items()
        if (value := getattr(config, key)) is not None and directive not in said
    }
    return msgspec.structs.replace(
        request, **missing, set_directives={**mail, **request.set_directives}
    )


def _systems_of(cluster: str, folder: Path) -> list[str]:
    systems = [load_system(name, folder) for name in sorted(system_files(folder))]
    return [system.name for system in systems if system.cluster == cluster]


def _partition(given: str | None, system: System) -> str | None:
    """What the system's file calls a partition of Slurm's; None: nothing."""
    entries = [entry for entry in system.partition if given in (entry.name, entry.partition)]
    return entries[0].name if given and entries else None


def describe_source(key: str, config: Config, environ: Mapping[str, str], file: Path) -> str:
    """Where the value of a key comes from; empty: it has none."""
    variable = {"account": "SBATCH_ACCOUNT", "partition": "SBATCH_PARTITION", "qos": "SBATCH_QOS"}
    name = DATA_VARIABLE if key == "data" else variable.get(key, "")
    if environ.get(name):
        return name
    return os.fspath(file) if getattr(config, key) is not None else ""
