"""`hvdtrain cores`: the core map of a node, as a picture, as JSON or as lines of a script."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click
import msgspec

from hvdtrain.cli.defaults import find_system, system_option
from hvdtrain.cli.options import systems_folder, systems_option
from hvdtrain.cli.output import print_json, print_styled, print_text
from hvdtrain.errors import RunError
from hvdtrain.machine import read_topology
from hvdtrain.plan.job.summary import describe_cores
from hvdtrain.plan.machine.core_map import CoreMap, default_comm_cores, make_core_map
from hvdtrain.plan.machine.environment import Layer, make_settings
from hvdtrain.plan.machine.system import System
from hvdtrain.plan.machine.topology import Topology, make_topology

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EXAMPLE = """\b
Example:
  hvdtrain cores --system stampede2-knl
"""


class CoresReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    system: str
    detected: bool
    topology: Topology
    core_map: CoreMap
    layers: tuple[Layer, ...]


@click.command(epilog=_EXAMPLE)
@system_option
@click.option("--ranks-per-node", type=int, help="MPI ranks on a node. Default: the system's.")
@click.option("--comm-cores", type=int, help="Cores of a node that only communicate.")
@click.option(
    "--detect",
    is_flag=True,
    help="Read the numbering of the cores from this node. Always so for the system `local`.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["picture", "json", "sh"]),
    default="picture",
    show_default=True,
    help="`sh`: the settings as lines of a shell script.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@systems_option
def command(
    name: str | None,
    ranks_per_node: int | None,
    comm_cores: int | None,
    detect: bool,
    style: str,
    as_json: bool,
    systems_dir: Path | None,
) -> None:
    """Show which cores of a node compute, communicate and load data, for each of its ranks."""
    system = find_system(name, systems_folder(systems_dir))
    detect = detect or system.slurm is None
    topology = _detect(system) if detect else make_topology(system.node)
    ranks = system.cores.ranks_per_node if ranks_per_node is None else ranks_per_node
    if comm_cores is None:
        comm_cores = default_comm_cores(len(topology.cores), ranks, system.cores.comm_cores)
    core_map = make_core_map(topology, ranks, comm_cores)
    mpi = "intel" if system.slurm is None else system.slurm.mpi
    layers = make_settings(core_map, mpi, itex=system.node.avx512 == "full")
    if as_json or style == "json":
        report = CoresReport(
            system=system.name, detected=detect, topology=topology, core_map=core_map, layers=layers
        )
        print_json(report)
    elif style == "sh":
        print_text(format_settings(layers) + "\n")
    else:
        picture = draw_cores(topology, core_map, shutil.get_terminal_size().columns)
        print_styled(f"{system.name}: {system.title}\n\n{picture}\n")


def _detect(system: System) -> Topology:
    """The topology of this node.

    Raises:
        RunError: It is not such a node as the system file describes.
    """
    topology = read_topology()
    if system.slurm is not None and len(topology.cores) != system.node.cores:
        raise RunError(
            f"this node gives {len(topology.cores)} cores, a node of {system.name} has "
            f"{system.node.cores}",
            "ask for whole nodes, or correct the system file: see hvdtrain systems",
        )
    return topology


def format_settings(layers: tuple[Layer, ...]) -> str:
    """The settings as `export` lines, each value quoted."""
    lines = []
    for layer in layers:
        lines.append(f"# {layer.title}")
        lines += [f"export {item.name}={shlex.quote(item.value)}" for item in layer.settings]
    return "\n".join(lines)


def draw_cores(topology: Topology, core_map: CoreMap, width: int) -> str:
    """A picture of the node: one cell for each core, rows by socket, and a legend.

    Args:
        topology: Sockets, cores and threads of the node, and their numbers.
        core_map: Who has which core.
        width: Columns of the terminal; a row has the most of 8, 16, 32 and 64 cores that fit.
    """
    cells = _cells(topology, core_map)
    last = max(core.cpu for core in topology.cores)
    label_width = 2 * len(str(last)) + 2
    per_row = max(
        [size for size in (8, 16, 32, 64) if label_width + 2 + 2 * size <= width], default=8
    )
    lines = []
    for socket in topology.sockets:
        cores = [core for core in topology.cores if core.socket == socket]
        lines.append(f"socket {socket}, {len(cores)} cores")
        for start in range(0, len(cores), per_row):
            row = cores[start : start + per_row]
            label = f"{row[0].cpu}..{row[-1].cpu}"
            drawn = " ".join(cells[core.cpu] for core in row)
            lines.append(f"{label:>{label_width}}  {drawn}")
        lines.append("")
    lines += _legend(core_map)
    return "\n".join(lines)


def _cells(topology: Topology, core_map: CoreMap) -> dict[int, str]:
    """First hardware thread of a core to its cell: a letter per rank, # where it communicates."""
    cells = {core.cpu: "." for core in topology.cores}
    for local_rank, rank in enumerate(core_map.ranks):
        colour = COLOURS[local_rank % len(COLOURS)]
        for cpu in rank.compute:
            cells[cpu] = click.style(LETTERS[local_rank % len(LETTERS)], fg=colour)
        for cpu in rank.comm:
            cells[cpu] = click.style("#", fg=colour, bold=True)
    return cells


def _legend(core_map: CoreMap) -> list[str]:
    many = len(core_map.ranks) > 1
    marks = ["a, b, ... compute of rank 0, 1, ..." if many else "a compute"]
    if core_map.comm_cores and core_map.ranks[0].data_shares_compute:
        marks.append("# communication, and data loading there and on a few compute cores")
    elif core_map.comm_cores:
        marks.append("# communication, and data loading on its other hardware threads")
    if core_map.idle:
        marks.append(". idle")
    return [
        "   ".join(marks),
        "A cell is a core; its number is that of its first hardware thread.",
        "",
        *(f"{label}: {text}" for label, text in describe_cores(core_map)),
    ]
