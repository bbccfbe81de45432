"""Notes that every rank leaves in a shared folder: how far it is.

When MPI itself hangs, the ranks can no longer tell each other anything. Files still can. A note is
a line of one length that is written over a handful of times, in place: thousands of ranks that make
and rename files in one folder wait for each other there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.names import name_some

STAGES = (
    "loading TensorFlow and starting MPI",
    "starting Horovod",
    "making the plan",
    "the allreduce",
    "measuring the speed",
    "reading the threads back",
    "the verdict",
)
_APART_SECONDS = 120
"""Ranks of one start begin within this time. Notes from before are those of an earlier start."""

_SPOKEN, _REMOVED = "spoken", "removed"


@dataclass(frozen=True)
class Note:
    """How far a rank is.

    Attributes:
        stage: Index into `STAGES`.
        host: Host name of the rank's node.
    """

    stage: int
    host: str


class Notes:
    """The notes of a preflight, one file for each rank.

    Where the folder cannot be written, nothing is noted, and a rank that hangs has no name.
    """

    def __init__(self, folder: Path, rank: int, host: str) -> None:
        self._folder = folder
        self._rank = rank
        self._host = host
        self._began = 0.0
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            # Left by a preflight of the same run that was killed.
            (folder / _SPOKEN).unlink(missing_ok=True)
            (folder / _REMOVED).unlink(missing_ok=True)

    def reach(self, stage: int) -> None:
        """This rank is at a stage now."""
        path, mode = self._folder / str(self._rank), "r+" if self._began else "w"
        # Closed each time: NFS shows it to others only then.
        with contextlib.suppress(OSError), path.open(mode) as file:
            file.write(f"{stage} {self._host}\n")
            file.flush()
            # The clock of the file system is the same for all of them.
            self._began = self._began or os.fstat(file.fileno()).st_mtime

    def read(self) -> dict[int, Note]:
        """The notes of all ranks that have left one lately."""
        found = {}
        with contextlib.suppress(OSError):
            for name in filter(str.isdigit, os.listdir(self._folder)):
                path = self._folder / name
                text = path.read_text()
                stage, _, host = text.strip().partition(" ")
                is_whole = text.endswith("\n")
                if is_whole and path.stat().st_mtime >= self._began - _APART_SECONDS:
                    found[int(name)] = Note(int(stage), host)
        return found

    def claim_word(self) -> bool:
        """Whether this rank is the first that wants to speak for all."""
        return self._claim(_SPOKEN)

    def remove(self) -> None:
        """Take away the folder, when nobody needs it any more: the first rank that asks does."""
        if not self._claim(_REMOVED):
            return
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                (self._folder / name).unlink(missing_ok=True)
            self._folder.rmdir()

    def _claim(self, name: str) -> bool:
        """Whether this rank is the first; where no file can be made, it is rank 0."""
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            return self._rank == 0
        return True


def describe_silence(notes: Mapping[int, Note], ranks: int) -> str:
    """Who did not answer, from the notes of those who did."""
    absent = [rank for rank in range(ranks) if rank not in notes]
    lowest = min((note.stage for note in notes.values()), default=0)
    behind = sorted(rank for rank, note in notes.items() if note.stage == lowest)
    if absent:
        return f"{_count(absent, ranks)} did not start: {name_some(absent)}"
    where = STAGES[lowest]
    if len(behind) == ranks:
        return f"all {ranks} ranks are at the same point: {where}"
    named = name_some([f"{rank} on {notes[rank].host}" for rank in behind])
    return f"{_count(behind, ranks)} did not answer: {named}: {where}"


def _count(some: list[int], ranks: int) -> str:
    return f"{len(some)} of {ranks} ranks"
