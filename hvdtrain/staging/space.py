"""Whether what is still to be copied fits beside what is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hvdtrain.errors import RunError
from hvdtrain.staging.journal import JOURNAL
from hvdtrain.staging.listing import DataFile
from hvdtrain.units import format_bytes

# MPI's shared memory lies in /dev/shm too, and a rank that finds no room there dies of SIGBUS. At
# most as many ranks as processors share a node. Measured for Intel MPI 2021.11 while 16 and 24
# ranks reduced 104 MB by the ring: 3.4 MB a rank.
SHARED_MEMORY = Path("/dev/shm")
_MPI_BYTES = 16_000_000
_MPI_BYTES_PER_PROCESSOR = 4_000_000

# Generous: the name, three numbers and the words between them.
_JOURNAL_LINE_BYTES = 512


def check_space(path: Path, root: Path, missing: Iterable[DataFile]) -> None:
    """Raise unless files fit on the file system of a private folder, with room left for MPI.

    Args:
        path: Path of the folder, for messages.
        root: File descriptor of the same folder.
        missing: Files that are still to be copied.

    Raises:
        RunError: They do not; the message says what can be done.
    """
    block = os.statvfs(root).f_frsize
    needed = sum(-(-file.size_bytes // block) * block + _JOURNAL_LINE_BYTES for file in missing)
    kept = _kept_for_mpi(root)
    free = max(_free_bytes(root) - kept, 0)
    if needed <= free:
        return
    beside = f" beside {format_bytes(kept)} that MPI needs" if kept else ""
    left = _left_by_others(path)
    others = f"remove {', '.join(left)} unless a job of yours uses it; " if left else ""
    raise RunError(
        f"{path.parent} has {format_bytes(free)} free{beside}, and the training data still needs "
        f"{format_bytes(needed)}",
        f"{others}shrink the images with hvdtrain prepare-data --size 256; or name a folder with "
        "more room as node.staging in the system file",
    )


def _free_bytes(root: Path) -> int:
    file_system = os.statvfs(root)
    return file_system.f_bavail * file_system.f_frsize


def _kept_for_mpi(root: Path) -> int:
    """Bytes of the file system that the node's ranks need."""
    if not SHARED_MEMORY.is_dir() or root.stat().st_dev != SHARED_MEMORY.stat().st_dev:
        return 0
    return _MPI_BYTES + _MPI_BYTES_PER_PROCESSOR * (os.cpu_count() or 1)


def _left_by_others(path: Path) -> list[str]:
    """Staged data of this user beside a private folder, such as that of a job that was killed."""
    found = []
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name == path.name or not entry.is_dir(follow_symlinks=False):
                continue
            is_own = entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            if is_own and (Path(entry.path) / JOURNAL).is_file():
                found.append(entry.path)
    return sorted(found)
