"""Notes that ranks leave in a shared folder: how far each of them is.

When MPI does not run yet, or hangs, the ranks cannot tell each other anything. Files still can. A
rank leaves two while it starts, which are removed when all have joined, and one more when a rank
hangs. With 1,536 ranks that is 3,072 small files at the start, and none while the run trains.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from hvdtrain.names import name_some

_READY = ".ready"
_ALL = "all"
_SPOKEN = "spoken"


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a rank is.

    Attributes:
        host: Host name of its node.
        doing: What it does, in words.
        count: How many such points it has come to; the same for all ranks at the same point.
        alone: Whether it waits for no other rank there.
        hangs: Whether it has been there for too long.
        state: What the kernel says of its process, where that explains why it does nothing.
    """

    host: str
    doing: str
    count: int = 0
    alone: bool = False
    hangs: bool = False
    state: str = ""


class Notes:
    """The notes of one start of the ranks.

    Where the folder cannot be written, nothing is noted, and a rank that hangs has no name.

    Args:
        folder: Nobody else's, and not there yet; None: there is only this rank.
        rank: This one.
        ranks: How many there are.
    """

    def __init__(self, folder: Path | None, rank: int, ranks: int) -> None:
        self._folder = folder
        self._rank = rank
        self._ranks = ranks
        self._has_left = False

    def leave(self, note: Note) -> None:
        """This rank is here now."""
        if self._folder is None:
            return
        path, temporary = self._folder / str(self._rank), self._folder / f".{self._rank}"
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(note))
            temporary.replace(path)
            self._has_left = True

    def take_back(self) -> None:
        """This rank goes on."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / str(self._rank)).unlink(missing_ok=True)
                self._folder.rmdir()

    def are_asked_for(self) -> bool:
        """Whether a rank has left a note."""
        return self._folder is not None and self._folder.exists()

    def be_ready(self) -> None:
        """This rank has loaded what it needs, and is about to wait for the others."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"{self._rank}{_READY}").touch()

    def are_all_ready(self) -> bool:
        """Whether every rank is. Rank 0 counts them, and the others look whether it has."""
        if self._folder is None:
            return True
        try:
            if self._rank > 0:
                return (self._folder / _ALL).exists()
            if sum(name.endswith(_READY) for name in os.listdir(self._folder)) < self._ranks:
                return False
            (self._folder / _ALL).touch()
        except OSError:
            return False
        return True

    def read(self) -> dict[int, Note]:
        """The notes of all ranks that have left one."""
        found = {}
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            for name in filter(str.isdigit, os.listdir(self._folder) if self._folder else ()):
                assert self._folder is not None
                encoded = (self._folder / name).read_bytes()
                found[int(name)] = msgspec.json.decode(encoded, type=Note)
        return found

    def ready(self) -> frozenset[int]:
        """The ranks that have said so."""
        with contextlib.suppress(OSError):
            names = os.listdir(self._folder) if self._folder else []
            return frozenset(
                int(name.removesuffix(_READY)) for name in names if name.endswith(_READY)
            )
        return frozenset()

    def claim_word(self) -> bool:
        """Whether this rank is the first that wants to speak for all."""
        if self._folder is None:
            return True
        try:
            (self._folder / _SPOKEN).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            # A folder that is gone has been removed by the one who spoke.
            return self._rank == 0 and not self._has_left
        return True

    def remove(self) -> None:
        """Take away the folder, when nobody needs it any more."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                for name in os.listdir(self._folder):
                    (self._folder / name).unlink(missing_ok=True)
                self._folder.rmdir()


def notes_folder(results: Path, start: str) -> Path:
    """Where the ranks leave notes: in the results folder, or above it where that is not there yet.

    Args:
        results: Folder of all runs.
        start: What only the ranks of this start are called.
    """
    whole = results.absolute()
    near = next(folder for folder in (whole, *whole.parents) if folder.is_dir())
    return near / f".ranks-{start}"


def describe_start(notes: Mapping[int, Note], ready: frozenset[int], ranks: int) -> str:
    """Who is missing while the ranks start.

    Args:
        notes: Of those whose process runs.
        ready: Those that wait for the others.
        ranks: How many there should be.
    """
    absent = [rank for rank in range(ranks) if rank not in notes]
    late = [rank for rank in sorted(notes) if rank not in ready]
    said = []
    if absent:
        said.append(f"{len(absent)} of {ranks} ranks did not start: {name_some(absent)}")
    if late:
        named = name_some([f"{rank} on {notes[rank].host}" for rank in late])
        said.append(f"{len(late)} of {ranks} ranks are not ready: {named}: {notes[late[0]].doing}")
    return "; ".join(said) or describe_hang(notes, [note.host for note in notes.values()])


def describe_hang(notes: Mapping[int, Note], hosts: Sequence[str]) -> str:
    """For whom the others wait.

    A process that the kernel has stopped is at fault, and so is one that does not come back from
    where it waits for nobody. Then it is who does not answer, and last who is behind.

    Args:
        notes: Of the ranks that have answered.
        hosts: Host name of every rank, in order of rank.
    """
    absent = [rank for rank in range(len(hosts)) if rank not in notes]
    behind = min((note.count for note in notes.values()), default=0)
    groups = (
        [rank for rank, note in notes.items() if note.state],
        [rank for rank, note in notes.items() if note.alone and note.hangs],
        absent,
        [rank for rank, note in notes.items() if note.count == behind],
    )
    guilty = sorted(next(group for group in groups if group))
    first = notes.get(guilty[0])
    if len(guilty) == len(hosts) > 1 and first and not first.state:
        return f"all {len(hosts)} ranks are at the same point: {first.doing}"
    named = name_some([f"rank {rank} on {hosts[rank]}" for rank in guilty])
    if first is None:
        others = next(iter(notes.values()), None)
        at = f"; the others wait in {others.doing}" if others else ""
        return f"no answer from {named}{at}"
    return f"{named}{f' ({first.state})' if first.state else ''}: {first.doing}"
