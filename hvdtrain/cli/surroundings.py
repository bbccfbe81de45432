"""What a shell may hand over broken: streams that are closed or full, a folder that is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

# What the operating system answers to a write for which there is no room.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextlib.contextmanager
def sound_surroundings() -> Iterator[None]:
    """Let a command run with streams that are there, and say in one line what is broken.

    Raises:
        SystemExit: With exit code 1: what the command prints cannot be written, or the working
            folder has been removed.
    """
    _open_closed()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        said = _what_is_broken(error)
        if said is None:
            raise
        # Where it is the standard error that is full, nobody can be told.
        with contextlib.suppress(OSError):
            print(f"hvdtrain: {said}", file=sys.stderr, flush=True)
        _discard_rest()
        sys.exit(1)


def _open_closed() -> None:
    """Open what is closed, so that no file gets its number and no note the wrong stream."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    # A stream that was closed when Python started is None, whatever its type says.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _what_is_broken(error: OSError) -> str | None:
    # Files are written by `files.atomic`, which says so itself: this was a stream, without a name.
    if error.filename is None and error.errno in _NO_ROOM:
        return f"the standard output cannot be written: {error.strerror}"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working folder has been removed: cd to one that exists"
    return None


def _discard_rest() -> None:
    """Let what the streams still hold go nowhere: Python would try to write it when it ends."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
