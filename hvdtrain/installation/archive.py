"""Writes the packed installation: one compressed tar file, the same for the same members."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import marshal
import tarfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from hvdtrain.installation.members import Member

# Level 1 takes 42 s for 2 GB and gives 0.75 GB; level 4 takes 56 s and gives 0.70 GB, which also
# takes longer to unpack.
_LEVEL = 1
_LARGE_BYTES = 1_000_000
_SOURCE = ".py"
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")
"""Flags of a .pyc that holds the hash of its source and is used without a look at the source."""


@dataclass(frozen=True)
class Content:
    """What was written.

    Attributes:
        files: How many files.
        size_bytes: Of all of them, a file under two names once.
    """

    files: int
    size_bytes: int


def write_archive(
    members: Iterable[Member], file: BinaryIO, tell: Callable[[Member], None]
) -> Content:
    """Write the members.

    A module is accompanied by its byte code, which is read without a look at the module. Large
    files that are the same, such as a library under three names, are stored once.

    Args:
        members: In order; the same members give the same bytes.
        file: Where to.
        tell: Called with each member once it is written.

    Raises:
        OSError: A member cannot be read, or the file cannot be written.
    """
    # Without a name and a time in its header.
    with (
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as compressed,
        tarfile.TarFile(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer = _Writer(tar)
        for member in members:
            writer.add(member)
            tell(member)
    return Content(writer.files, writer.size_bytes)


class _Writer:
    """An archive that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._large: dict[str, str] = {}
        self.files = 0
        self.size_bytes = 0

    def add(self, member: Member) -> None:
        """Write a member, and the byte code of a module."""
        if member.link:
            self._put(_entry(member.name, tarfile.SYMTYPE, member.link))
        elif member.source is None:
            self._put_bytes(member.name, member.content, member.executable)
        elif member.source.suffix == _SOURCE:
            source = member.source.read_bytes()
            self._put_bytes(member.name, source)
            code = _byte_code(member.name, source)
            if code is not None:
                self._put_bytes(importlib.util.cache_from_source(member.name), code)
        else:
            self._put_file(member.name, member.source)

    def _put_file(self, name: str, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as source:
            if size >= _LARGE_BYTES:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
                first = self._large.setdefault(digest, name)
                if first != name:
                    self._put(_entry(name, tarfile.LNKTYPE, first))
                    return
                source.seek(0)
            entry = _entry(name, tarfile.REGTYPE, executable=bool(path.stat().st_mode & 0o100))
            entry.size = size
            self._put(entry, source)

    def _put_bytes(self, name: str, content: bytes, executable: bool = False) -> None:
        entry = _entry(name, tarfile.REGTYPE, executable=executable)
        entry.size = len(content)
        self._put(entry, io.BytesIO(content))

    def _put(self, entry: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self._tar.addfile(entry, content)
        self.files += 1
        self.size_bytes += entry.size


def _entry(name: str, kind: bytes, link: str = "", executable: bool = False) -> tarfile.TarInfo:
    """An entry without a time or an owner."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    entry.mode = 0o755 if executable else 0o644
    return entry


def _byte_code(name: str, source: bytes) -> bytes | None:
    """The content of a module's .pyc; None: it is no module of this Python.

    Some packages carry templates and old code under the names of modules.
    """
    try:
        # Packages were compiled when they were installed: what Python warns of is not news here.
        with warnings.catch_warnings(action="ignore"):
            code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    magic = importlib.util.MAGIC_NUMBER
    return magic + _UNCHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)
