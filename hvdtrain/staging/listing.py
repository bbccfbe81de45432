"""The files of a folder of training data, links followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.errors import RunError


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of the source.

    Attributes:
        name: Path relative to the source, with `/`.
        size_bytes: Bytes of the file, links followed.
        mtime_ns: When it was changed last, in nanoseconds.
    """

    name: str
    size_bytes: int
    mtime_ns: int


def list_data(source: Path) -> list[DataFile]:
    """All files below a folder, sorted by name. Folders without files do not count.

    Raises:
        RunError: Not a folder, it holds no file, or something in it cannot be copied.
    """
    try:
        files = sorted(_walk(source, "", frozenset()), key=lambda file: file.name)
    except OSError as error:
        name = str(source) if error.filename is None else os.fsdecode(error.filename)
        raise RunError(
            f"the training data {name!r} cannot be read: {error.strerror}",
            "give --data a folder that every node can read",
        ) from None
    if not files:
        raise RunError(f"the training data {str(source)!r} holds no file")
    return files


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[DataFile]:
    """The files below a folder.

    Args:
        folder: The folder to list.
        prefix: Path of `folder` relative to the source, put before each name.
        above: Device and inode of every folder on the way here: a link to one of them has no end.
    """
    here = os.stat(folder)
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        raise RunError(f"{str(folder)!r} is a link to a folder that it lies in", "remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            found = entry.stat()
            if stat.S_ISDIR(found.st_mode):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {identity})
            elif stat.S_ISREG(found.st_mode):
                yield DataFile(f"{prefix}{entry.name}", found.st_size, found.st_mtime_ns)
            else:
                raise RunError(f"{entry.path!r} is neither a file nor a folder", "remove it")
