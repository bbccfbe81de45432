"""What was packed of this installation before, and whether it still is this installation."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hvdtrain.files.decode import load_json
from hvdtrain.installation.commit import PACKAGE
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.resources import resource_folder
from hvdtrain.stack import itex_folder

NOTE_FILE = Path(sys.prefix, "hvdtrain-packed.json")
"""Says what was packed last, and where it is."""


def current_packed() -> Packed | None:
    """What was packed of this installation; None: nothing, or the installation has changed.

    Raises:
        InputError: The note of it is damaged.
    """
    if not NOTE_FILE.is_file():
        return None
    packed = load_json(NOTE_FILE, Packed)
    return packed if packed.fingerprint == fingerprint() and _is_whole(packed) else None


def fingerprint() -> str:
    """What changes when the installation does, as a SHA-256: looked up in a few milliseconds.

    Of packages it is the names and times of their records, of hvdtrain's own files the times.
    """
    folders = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    for folder in (*folders, itex_folder(Path(sys.prefix))):
        if folder.is_dir():
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if entry.name.endswith((".dist-info", ".egg-info")):
                    digest.update(f"{entry.name} {entry.stat().st_mtime_ns}\n".encode())
    for path, status in _own_files():
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _own_files() -> Iterator[tuple[str, os.stat_result]]:
    for folder in (PACKAGE, resource_folder("templates"), resource_folder("jobs")):
        for root, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                path = os.path.join(root, name)
                yield path, os.stat(path)


def _is_whole(packed: Packed) -> bool:
    try:
        return os.stat(packed.file).st_size == packed.size_bytes
    except OSError:
        return False
