"""`hvdtrain stage`: the training data on the node's own memory or disk."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from hvdtrain.cli.output import say
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import RunError
from hvdtrain.staging.broadcast import broadcast_data
from hvdtrain.staging.copy import copy_data, open_data, remove_data, verify_data
from hvdtrain.staging.listing import Source, look_through, read_list, write_list
from hvdtrain.staging.reference import Reference, check_reference
from hvdtrain.train.process.rank_environment import read_launch
from hvdtrain.units import format_bytes, format_duration

_MOST_THREADS = 16
_TELL_SHARE = 0.1
_TELL_SECONDS = 10.0

_EXAMPLE = """\b
Example:
  srun --ntasks-per-node=1 hvdtrain stage copy /scratch/imagenet /dev/shm/me-imagenet
  hvdtrain train --data /dev/shm/me-imagenet/data
"""

source_argument = click.argument("source", type=PathType())
staged_argument = click.argument("staged", type=PathType())
list_option = click.option(
    "--list",
    "listed",
    type=PathType(),
    help="File of `stage list`. Without it each node looks through SOURCE by itself.",
)


@click.group(epilog=_EXAMPLE)
def command() -> None:
    """Copy training data to the memory or disk of a node, check it, remove it.

    STAGED is a folder that only you can enter; the data goes to STAGED/data. Start one process on
    every node: of several, the first one does the work. A launcher that waits for all of them is
    the barrier, and fails when one of them does.
    """


@command.command("list", epilog="\b\nExample:\n  hvdtrain stage list /scratch/imagenet files.json")
@source_argument
@click.argument("file", type=PathType())
def list_(source: Path, file: Path) -> None:
    """Leave in FILE what a training reads of SOURCE, for the --list of the other commands.

    One node looks through the data then, and not all of them at the same time.
    """
    teller = Teller(speaks=True)
    started = time.monotonic()
    with _named_host():
        found = _look_through(source, teller.say)
        write_list(file, found)
    size = format_bytes(sum(one.size_bytes for one in found.files))
    took = format_duration(time.monotonic() - started)
    teller.say(f"{len(found.files)} files, {size}, to copy; looked through in {took}")


@command.command(
    epilog="\b\nExample:\n  srun hvdtrain stage copy /scratch/imagenet /dev/shm/me-imagenet"
)
@source_argument
@staged_argument
@list_option
@click.option(
    "--same-as",
    type=PathType(),
    help="File that all nodes share: the first node leaves the checksum of its copy there, and "
    "the others compare.",
)
def copy(source: Path, staged: Path, listed: Path | None, same_as: Path | None) -> None:
    """Make STAGED/data hold what a training reads of SOURCE. What is intact there is kept."""
    launch = read_launch(os.environ)
    if launch.local_rank:
        return
    started = time.monotonic()
    teller = Teller(speaks=launch.rank == 0)
    with _named_host():
        done = copy_data(
            _source(source, listed, teller.say),
            staged,
            threads=_threads(),
            first=launch.rank / launch.ranks,
            tell=teller.tell,
        )
        if same_as is not None:
            check_reference(same_as, Reference(host=socket.gethostname(), sha256=done.sha256))
    teller.say(
        f"{done.files} files, {format_bytes(done.size_bytes)}, of them {done.reused} files that "
        f"were here before, in {format_duration(time.monotonic() - started)}"
    )


@command.command(
    epilog="\b\nExample:\n  srun hvdtrain stage verify /scratch/imagenet /dev/shm/me-imagenet"
)
@source_argument
@staged_argument
@list_option
def verify(source: Path, staged: Path, listed: Path | None) -> None:
    """Check that STAGED/data holds what a training reads of SOURCE, with its checksums."""
    launch = read_launch(os.environ)
    if launch.local_rank:
        return
    with _named_host():
        done = verify_data(_source(source, listed), staged, threads=_threads())
    Teller(speaks=launch.rank == 0).say(
        f"{done.files} files, {format_bytes(done.size_bytes)}, are as they were copied"
    )


@command.command(epilog="\b\nExample:\n  srun hvdtrain stage remove /dev/shm/me-imagenet")
@staged_argument
def remove(staged: Path) -> None:
    """Remove STAGED, if it is there and holds nothing but staged data."""
    if read_launch(os.environ).local_rank:
        return
    with _named_host():
        remove_data(staged)


@command.command(
    "open", epilog="\b\nExample:\n  srun hvdtrain stage open /scratch/imagenet /dev/shm/me-imagenet"
)
@source_argument
@staged_argument
@list_option
def open_(source: Path, staged: Path, listed: Path | None) -> None:
    """Make STAGED, empty, with room for the files that `stage broadcast` sends."""
    if read_launch(os.environ).local_rank:
        return
    with _named_host():
        open_data(_source(source, listed), staged)


@command.command(
    epilog="\b\nExample:\n  hvdtrain stage broadcast /scratch/imagenet /dev/shm/me-imagenet"
)
@source_argument
@staged_argument
@list_option
def broadcast(source: Path, staged: Path, listed: Path | None) -> None:
    """Send the large files of SOURCE to STAGED on every node of this job, with Slurm's sbcast.

    Run it once, between `stage open` and `stage copy` on every node.
    """
    teller = Teller(speaks=True)
    with _named_host():
        sent = broadcast_data(_source(source, listed), staged, teller.tell)
    teller.say(f"{sent} files sent to every node")


class Teller:
    """Tells how far it is: at most one line for every tenth, of one node.

    Args:
        speaks: Whether this is the one.
        clock: Seconds from any fixed moment; never goes back.
    """

    def __init__(self, speaks: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._speaks = speaks
        self._clock = clock
        self._told_share = 0.0
        self._told_at = clock()

    def tell(self, done: int, total: int) -> None:
        """So many bytes are in place."""
        share, now = done / max(total, 1), self._clock()
        if share >= 1 or share < self._told_share + _TELL_SHARE:
            return
        if now >= self._told_at + _TELL_SECONDS:
            self._told_share, self._told_at = share, now
            self.say(f"{format_bytes(done)} of {format_bytes(total)}, {share:.0%}")

    def say(self, text: str) -> None:
        """A line for people."""
        if self._speaks:
            say(f"staging on {socket.gethostname()}: {text}")


@contextlib.contextmanager
def _named_host() -> Iterator[None]:
    """Whatever fails here says on which node: the launcher mixes the words of many."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{socket.gethostname()}: {error.message}", error.fix) from None


def _source(
    folder: Path, listed: Path | None, tell: Callable[[str], None] = lambda _: None
) -> Source:
    """What is copied: as another process has listed it, or as this one finds it."""
    return _look_through(folder, tell) if listed is None else read_list(listed, folder)


def _look_through(folder: Path, tell: Callable[[str], None]) -> Source:
    """The files below a folder that a training reads; what it does not read is told."""
    # Needs NumPy, and `stage remove` does not.
    from hvdtrain.train.data.dataset import data_files, find_data, unread

    found = find_data(folder)
    for line in unread(found):
        tell(line)
    return look_through(folder, data_files(found))


def _threads() -> int:
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))
