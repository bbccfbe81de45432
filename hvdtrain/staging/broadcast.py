"""Sends files to all nodes of a job with Slurm's `sbcast`, from one node.

Slurm passes a file on from node to node, so the shared file system is read once. Each file takes
a command of its own, a second or so: that suits TFRecord shards of 100 MB, not a million images.
Small files are left out, and every node reads those by itself; `hvdtrain prepare-data` makes shards
of image folders. With the files goes the journal with their checksums, so that each node can check
what came, and read again what did not.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from hvdtrain.errors import RunError
from hvdtrain.staging.copy import Tell
from hvdtrain.staging.journal import JOURNAL, journal_line
from hvdtrain.staging.listing import DataFile, Source
from hvdtrain.staging.private import DATA

SMALLEST_BYTES = 8_000_000
"""A smaller file is read by every node in less time than a command takes to start."""


def broadcast_data(source: Source, path: Path, tell: Tell) -> int:
    """Send the large files of the source, and then the journal about them.

    Args:
        source: Folder of the training data, on the shared file system.
        path: The private folder, which `open_data` has made on every node.
        tell: tell(done, total): called after each file, in bytes.

    Returns:
        Files sent.

    Raises:
        RunError: sbcast is missing, or failed.
    """
    large = [file for file in source.files if file.size_bytes >= SMALLEST_BYTES]
    done, total = 0, sum(file.size_bytes for file in large)
    with tempfile.NamedTemporaryFile(prefix="hvdtrain-") as journal:
        for file in large:
            _send(source.folder / file.name, path / DATA / file.name)
            journal.write(journal_line(file, _read_sha256(source.folder, file)))
            done += file.size_bytes
            tell(done, total)
        journal.flush()
        if large:
            _send(Path(journal.name), path / JOURNAL)
    return len(large)


def _send(source: Path, target: Path) -> None:
    try:
        done = subprocess.run(
            ["sbcast", "--force", str(source), str(target)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise RunError(
            f"sbcast cannot be started: {error.strerror}",
            'set stage_by = "parallel-read" in the system file',
        ) from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise RunError(
            f"sbcast cannot send {str(source)!r}: {said[0]}",
            'set stage_by = "parallel-read" in the system file, where this goes on',
        )


def _read_sha256(source: Path, file: DataFile) -> str:
    try:
        with (source / file.name).open("rb", buffering=0) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{str(source / file.name)!r} cannot be read: {error.strerror}") from None
