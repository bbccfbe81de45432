"""`hvdtrain systems`: the clusters that are known, and what is known of one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.completion import complete_system
from hvdtrain.cli.options import systems_folder, systems_option
from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.errors import InputError
from hvdtrain.files.atomic import create_file, run_errors, write_output
from hvdtrain.files.fields import require_name
from hvdtrain.plan.machine.system import System, load_system, system_files

_EXAMPLE = """\b
Example:
  hvdtrain systems stampede2-knl
"""


@click.command(epilog=_EXAMPLE)
@click.argument("name", required=False, shell_complete=complete_system)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or one system.")
@click.option("--copy", is_flag=True, help="Copy its file into your own folder, to be changed.")
@click.option("--detect", is_flag=True, help="Write the file of the cluster that this runs on.")
@click.option("--probe", is_flag=True, help="With --detect: ask a node too, by a job of one node.")
@click.option(
    "--output", "-o", type=PathType(dir_okay=False), help="With --detect: a file, not stdout."
)
@systems_option
@wide_option
def command(
    *,
    name: str | None,
    as_json: bool,
    copy: bool,
    detect: bool,
    probe: bool,
    output: Path | None,
    systems_dir: Path | None,
    wide: bool,
) -> None:
    """List the clusters, or show all that is known of one. (?) marks what is unverified.

    To correct a fact, edit the copy that --copy makes: it takes precedence. For another cluster,
    --detect asks Slurm for partitions, limits and nodes, and marks what Slurm does not know.
    """
    folder = systems_folder(systems_dir)
    if detect:
        _detect(probe, output)
    elif probe or output is not None:
        raise InputError("--probe" if probe else "--output", None, "only together with --detect")
    elif copy:
        print_text(f"{copy_system(name, folder)}\n")
    elif name is None:
        names = sorted(system_files(folder))
        found = [load_system(each, folder) for each in names]
        print_json(found) if as_json else print_table(make_table(found), wide)
    else:
        system = load_system(name, folder)
        print_json(system) if as_json else print_text(show_system(system, folder) + "\n")


def _detect(probe: bool, output: Path | None) -> None:
    from hvdtrain.slurm.detect import detect_system
    from hvdtrain.slurm.system_file import format_system

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = detect_system(today, probe=probe)
    if output is None:
        print_text(format_system(found.system))
    else:
        # A system has the name of its file.
        name = require_name("--output", output.stem)
        write_output(output, format_system(msgspec.structs.replace(found.system, name=name)))
        say(f"{output}: {found.system.title}")
    for note in found.notes:
        say(f"note: {note}")


def copy_system(name: str | None, folder: Path) -> Path:
    """Copy the file of a system into the user's folder, and return the path of the copy.

    Raises:
        InputError: No system was named, there is none of that name, or it has been copied before.
        RunError: The copy cannot be written.
    """
    if name is None:
        raise InputError("--copy", None, "the name of a system", "hvdtrain systems lists them")
    load_system(name, folder)
    path = folder / f"{name}.toml"
    with run_errors(f"the folder {folder} cannot be made"):
        folder.mkdir(parents=True, exist_ok=True)
    if not create_file(path, system_files(folder)[name].read_bytes()):
        raise InputError("--copy", name, f"a system that has no file in {folder}", f"edit {path}")
    return path


def make_table(found: Sequence[System]) -> Table[System]:
    """The clusters, one a row."""
    return Table(columns=_COLUMNS, rows=tuple(found))


def _node(system: System) -> str:
    node = system.node
    return f"{node.sockets} x {node.cores_per_socket} cores{_mark(system, 'node')}"


def _submit_to(system: System) -> str:
    names = [entry.name + _mark(system, f"partition.{entry.name}") for entry in system.partition]
    return ", ".join(names) or "-"


def _mark(system: System, *paths: str) -> str:
    return " (?)" if any(path in system.unverified for path in paths) else ""


_COLUMNS: tuple[Column[System], ...] = (
    Column("name", lambda system: system.name, shown="narrow"),
    Column("node", _node, shown="narrow"),
    Column("submit to", _submit_to, shown="narrow"),
    Column("title", lambda system: system.title),
)


def show_system(system: System, folder: Path) -> str:
    """Every fact of a system, one a line, with what is unverified marked."""
    lines = [f"{system.name}: {system.title}", f"source: {system.source} ({system.checked})"]
    if system.cluster is not None:
        lines.append(f"Slurm's name of the cluster: {system.cluster}{_mark(system, 'cluster')}")
    facts = msgspec.to_builtins(system)
    for section in ("node", "cores", "slurm", "step_time"):
        if facts[section] is None:
            continue
        lines += ["", section + _mark(system, section)]
        lines += [
            f"  {key} = {_value(value)}{_mark(system, f'{section}.{key}')}"
            for key, value in facts[section].items()
        ]
    if system.partition:
        lines += ["", "partition"]
    for entry in system.partition:
        chosen = "" if entry.auto else ", only by --partition"
        note = f", {entry.note}" if entry.note else ""
        mark = _mark(system, f"partition.{entry.name}")
        lines.append(f"  {entry.limits}{chosen}{note}{mark}")
    lines += ["", *(f"note: {note}" for note in system.notes)]
    lines.append(f"file: {system_files(folder)[system.name]}")
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, dict):
        flags = (key if text == "" else f"{key}: {text}" for key, text in value.items())
        return "; ".join(flags) or "-"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return str(value)
