"""Notes that every rank leaves in a shared folder: how far it is.

When MPI itself hangs, the ranks can no longer tell each other anything. Files still can. A note is
a line that is written anew a handful of times.
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

_SPOKEN = "spoken"


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

    def reach(self, stage: int) -> None:
        """This rank is at a stage now."""
        path, temporary = self._folder / str(self._rank), self._folder / f".{self._rank}"
        with contextlib.suppress(OSError):
            temporary.write_text(f"{stage} {self._host}\n")
            temporary.replace(path)
            # The clock of the file system is the same for all of them.
            self._began = self._began or path.stat().st_mtime

    def read(self) -> dict[int, Note]:
        """The notes of all ranks that have left one lately."""
        found = {}
        with contextlib.suppress(OSError):
            for name in filter(str.isdigit, os.listdir(self._folder)):
                path = self._folder / name
                stage, _, host = path.read_text().strip().partition(" ")
                if path.stat().st_mtime >= self._began - _APART_SECONDS:
                    found[int(name)] = Note(int(stage), host)
        return found

    def claim_word(self) -> bool:
        """Whether this rank is the first that wants to speak for all."""
        try:
            (self._folder / _SPOKEN).touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:
            return self._rank == 0
        return True

    def remove(self) -> None:
        """Take away the folder, when nobody needs it any more."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                (self._folder / name).unlink(missing_ok=True)
            self._folder.rmdir()


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
