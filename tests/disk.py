"""A small disk of its own for a test that fills it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Disk:
    """A file system in memory.

    Attributes:
        path: Where it is mounted.
    """

    path: Path

    def fill(self, leave: int = 0) -> None:
        """Leave only so many bytes, in whole pages."""
        free = os.statvfs(self.path).f_bavail * PAGE_BYTES
        (self.path / "ballast").write_bytes(bytes(max(0, free - leave)))

    def make_room(self) -> None:
        """Take away what fills it."""
        (self.path / "ballast").unlink()


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Disk]:
    """A disk at `folder`/disk. Skips the test where only root may mount one."""
    path = folder / "disk"
    path.mkdir()
    options = f"size={size_bytes},mode=1777"
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        with suppress(OSError):
            subprocess.run(["umount", "--lazy", str(path)], check=False)
