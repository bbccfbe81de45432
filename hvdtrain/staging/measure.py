"""How much a training reads of a folder, by a quick look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

_SPLITS = ("train", "val")
_SHARDS = ("train-*-of-*", "validation-*-of-*")


def measure_data(folder: Path, most_files: int) -> tuple[int, int, bool]:
    """Files that a training reads, their bytes, and whether there are more than were looked at.

    Args:
        folder: Of images or TFRecord shards.
        most_files: So many are looked at: a million take minutes on a parallel file system.

    Raises:
        OSError: It cannot be read.
    """
    files = size_bytes = 0
    for entry in _entries(folder):
        if files == most_files:
            return files, size_bytes, True
        files += 1
        size_bytes += entry.stat().st_size
    return files, size_bytes, False


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if (folder / _SPLITS[0]).is_dir():
        for split in _SPLITS:
            if (folder / split).is_dir():
                yield from _below(folder / split)
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and any(fnmatchcase(entry.name, name) for name in _SHARDS):
                yield entry


def _below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _below(entry.path)
            elif entry.is_file():
                yield entry
