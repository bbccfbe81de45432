"""Write a table, a figure or a report to a file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from hvdtrain.errors import InputError


def write_atomically(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Put the content into the file in one step: a reader sees the old file or the new one.

    A symbolic link keeps pointing where it did, and the file there is replaced.

    Args:
        path: The file.
        content: What it will hold; text as UTF-8.
        option: What the user calls the path.

    Raises:
        InputError: The file cannot be written there, or is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputError(option, str(path), "a regular file, or one that does not exist yet")
    # A name of its own: two commands may write the same table.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(option, str(path), f"a file that can be written: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Put other content into a file, at once."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet, so that nobody ever sees half of it.

    Raises:
        FileExistsError: It exists.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        # A link fails where the name is taken; a rename would replace what is there.
        os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
