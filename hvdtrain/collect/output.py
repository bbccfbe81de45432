"""Write a table, a figure or a report to a file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
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
