"""The files of the training data that are copied: looked for once, by one node for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import replace_file
from hvdtrain.files.decode import load_json


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


@dataclass(frozen=True)
class Source:
    """What is copied.

    Attributes:
        folder: The training data.
        files: The files that a training reads, sorted by name.
    """

    folder: Path
    files: tuple[DataFile, ...]


def look_through(folder: Path, names: Iterable[str]) -> Source:
    """Files of a folder, with their sizes and times. Links are followed.

    Args:
        folder: The training data.
        names: The files that a training reads, by their paths below the folder.

    Raises:
        RunError: A file is not there any more, or cannot be reached.
    """
    files = []
    for name in sorted(names):
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise RunError(
                f"the training data {str(folder / name)!r} cannot be read: {error.strerror}",
                "give --data a folder that every node can read",
            ) from None
        files.append(DataFile(name, found.st_size, found.st_mtime_ns))
    return Source(folder, tuple(files))


def write_list(file: Path, source: Source) -> None:
    """Leave what a source holds in a file, in place of an earlier one.

    Raises:
        RunError: It cannot be written.
    """
    replace_file(file, msgspec.json.encode(source.files))


def read_list(file: Path, folder: Path) -> Source:
    """What a folder held when `write_list` left it in a file.

    Raises:
        InputError: The file cannot be read, or is none of those.
    """
    return Source(folder, load_json(file, tuple[DataFile, ...]))
