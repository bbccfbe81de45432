"""Packs this installation into one file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hvdtrain.files.atomic import rename, replace_file, replacing, run_errors
from hvdtrain.installation import packed as earlier
from hvdtrain.installation.archive import write_archive
from hvdtrain.installation.members import Member
from hvdtrain.plan.machine.packed import Packed

_BEGIN, _SUFFIX = "hvdtrain-", ".tar.gz"


def pack(members: Sequence[Member], folder: Path, tell: Callable[[Member], None]) -> Packed:
    """Write the packed installation, and note where it is.

    The name of the file is its checksum's beginning, so a job that waits with an older one in its
    script still finds that.

    Args:
        members: Of `find_members`.
        folder: Where the file goes. It is made where missing.
        tell: Called with each member once it is written.

    Raises:
        RunError: Something cannot be read or written.
    """
    fingerprint = earlier.fingerprint()
    with run_errors(f"the installation cannot be packed into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{_BEGIN}new{_SUFFIX}"
        with replacing(draft) as file:
            content = write_archive(members, file, tell)
        with draft.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        target = folder / f"{_BEGIN}{sha256[:12]}{_SUFFIX}"
        rename(draft, target)
        size_bytes = target.stat().st_size
    packed = Packed(
        file=str(target.absolute()),
        sha256=sha256,
        fingerprint=fingerprint,
        size_bytes=size_bytes,
        unpacked_bytes=content.size_bytes,
        files=content.files,
    )
    replace_file(earlier.NOTE_FILE, msgspec.json.format(msgspec.json.encode(packed)) + b"\n")
    return packed


def older_files(packed: Packed) -> list[Path]:
    """What lies beside a packed installation from earlier ones."""
    newest = Path(packed.file)
    return sorted(set(newest.parent.glob(f"{_BEGIN}*{_SUFFIX}")) - {newest})
