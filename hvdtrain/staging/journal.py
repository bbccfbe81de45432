"""What a node says of the files that it has: one line of JSON for each, as soon as it is whole."""

from __future__ import annotations

import hashlib
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hvdtrain.staging.listing import DataFile

JOURNAL = "staged.jsonl"


class StagedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that was copied whole.

    Attributes:
        name: Path below the source, percent-encoded: a file's name need not be text.
        size_bytes: Bytes of the file.
        mtime_ns: When the source was changed last, in nanoseconds.
        sha256: SHA-256 of what was read from the source, hexadecimal.
    """

    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str


def read_journal(folder: Path) -> dict[DataFile, str]:
    """The SHA-256 of every file that was copied whole. What cannot be read does not count."""
    try:
        lines = (folder / JOURNAL).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    found: dict[DataFile, str] = {}
    for line in lines:
        try:
            staged = msgspec.json.decode(line, type=StagedFile)
        except msgspec.DecodeError:
            continue
        name = urllib.parse.unquote(staged.name, errors="surrogateescape")
        found[DataFile(name, staged.size_bytes, staged.mtime_ns)] = staged.sha256
    return found


def journal_line(file: DataFile, sha256: str) -> bytes:
    """The line for a file of the source."""
    staged = StagedFile(
        name=urllib.parse.quote(file.name, errors="surrogateescape"),
        size_bytes=file.size_bytes,
        mtime_ns=file.mtime_ns,
        sha256=sha256,
    )
    return msgspec.json.encode(staged) + b"\n"


def data_sha256(files: Mapping[DataFile, str]) -> str:
    """One number for names and contents of all files, whatever their order."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(f"{files[file]} {len(os.fsencode(file.name))} ".encode())
        digest.update(os.fsencode(file.name))
    return digest.hexdigest()
