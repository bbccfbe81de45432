"""`hvdtrain systems`: the clusters that are known, and what is known of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.completion import complete_system
from hvdtrain.cli.options import systems_folder, systems_option
from hvdtrain.cli.output import print_json, print_text
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.plan.machine.system import System, load_system, system_files

_EXAMPLE = """\b
Example:
  hvdtrain systems stampede2-knl
"""


@click.command(epilog=_EXAMPLE)
@click.argument("name", required=False, shell_complete=complete_system)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or one system.")
@systems_option
@wide_option
def command(name: str | None, as_json: bool, systems_dir: Path | None, wide: bool) -> None:
    """List the clusters, or show all that is known of one. (?) marks what is unverified.

    To correct a fact, copy the file that is named at the end into your own folder and edit it.
    """
    folder = systems_folder(systems_dir)
    if name is None:
        names = sorted(system_files(folder))
        found = [load_system(each, folder) for each in names]
        print_json(found) if as_json else print_table(make_table(found), wide)
    else:
        system = load_system(name, folder)
        print_json(system) if as_json else print_text(show_system(system, folder) + "\n")


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
