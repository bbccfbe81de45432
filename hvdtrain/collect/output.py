"""Write a collected table to a file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from hvdtrain.errors import InputError


def write_atomically(path: Path, text: str) -> None:
    """Put `text` into the file in one step: a reader sees the old file or the new one.

    A symbolic link keeps pointing where it did, and the file there is replaced.

    Raises:
        InputError: The file cannot be written there, or is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputError("--output", str(path), "a regular file, or one that does not exist yet")
    # A name of its own: two commands may write the same table.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("--output", str(path), f"a file that can be written: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
