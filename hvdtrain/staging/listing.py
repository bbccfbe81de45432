"""The files of the training data that are copied."""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(frozen=True)
class Source:
    """What is copied.

    Attributes:
        folder: The training data.
        names: The files that a training reads, by their paths below the folder.
    """

    folder: Path
    names: Iterable[str]

    def list_files(self) -> list[DataFile]:
        """The files with their sizes and times, sorted by name. Links are followed.

        Raises:
            RunError: A file is not there any more, or cannot be reached.
        """
        files = []
        for name in sorted(self.names):
            try:
                found = (self.folder / name).stat()
            except OSError as error:
                raise RunError(
                    f"the training data {str(self.folder / name)!r} cannot be read: "
                    f"{error.strerror}",
                    "give --data a folder that every node can read",
                ) from None
            files.append(DataFile(name, found.st_size, found.st_mtime_ns))
        return files
