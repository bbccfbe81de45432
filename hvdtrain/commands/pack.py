"""`hvdtrain pack`: this installation as one file, for the nodes of a job."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hvdtrain.cli.output import print_json, print_text, say
from hvdtrain.cli.path_type import PathType
from hvdtrain.installation.members import find_members
from hvdtrain.installation.pack import older_files, pack
from hvdtrain.units import format_bytes

_EXAMPLE = """\b
Example:
  hvdtrain pack --folder /scratch/me
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--folder",
    type=PathType(),
    default=Path(sys.prefix),
    show_default="the folder of this installation",
    help="Where the file goes: a file system that all nodes of a job read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was packed as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Pack this installation into one file, in about a minute.

    Every job that is rendered from now on brings the file to its nodes, one read for each node,
    checks it, and runs from there. Without it each rank looks up some 25,000 paths on the
    file system that hvdtrain is installed on. Repeat the command when the installation has changed;
    until then jobs run from where it is installed. It writes the path of the file.
    """
    members = find_members()
    with click.progressbar(length=len(members), label="packing", file=sys.stderr) as bar:
        packed = pack(members, folder, lambda _: bar.update(1))
    say(
        f"{packed.files} files, {format_bytes(packed.unpacked_bytes)}, are packed into "
        f"{format_bytes(packed.size_bytes)}"
    )
    for path in older_files(packed):
        say(f"{path} is older: remove it when no job waits that was rendered with it")
    if as_json:
        print_json(packed)
    else:
        print_text(f"{packed.file}\n")
