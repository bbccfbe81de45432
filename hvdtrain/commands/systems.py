"""`hvdtrain systems`: the clusters that are known, and what is known of one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from hvdtrain.cli.options import systems_folder, systems_option
from hvdtrain.plan.machine.system import System, load_system, system_files

_EXAMPLE = """\b
Example:
  hvdtrain systems stampede2-knl
"""


@click.command(epilog=_EXAMPLE)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or one system.")
@systems_option
def command(name: str | None, as_json: bool, systems_dir: Path | None) -> None:
    """List the clusters, or show all that is known of one. (?) marks what is unverified.

    To correct a fact, copy the file that is named at the end into your own folder and edit it.
    """
    folder = systems_folder(systems_dir)
    if name is None:
        names = sorted(system_files(folder))
        found = [load_system(each, folder) for each in names]
        click.echo(_to_json(found) if as_json else _list(found))
    else:
        system = load_system(name, folder)
        click.echo(_to_json(system) if as_json else show_system(system, folder))


def _to_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _list(found: list[System]) -> str:
    rows = [("name", "node", "submit to", "title")]
    rows += [(system.name, _node(system), _submit_to(system), system.title) for system in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def _node(system: System) -> str:
    node = system.node
    return f"{node.sockets} x {node.cores_per_socket} cores{_mark(system, 'node')}"


def _submit_to(system: System) -> str:
    names = [entry.name + _mark(system, f"partition.{entry.name}") for entry in system.partition]
    return ", ".join(names) or "-"


def _mark(system: System, *paths: str) -> str:
    return " (?)" if any(path in system.unverified for path in paths) else ""


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
