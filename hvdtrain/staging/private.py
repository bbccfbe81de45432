"""A folder that only its owner can enter, in a place where everybody may write.

Whoever knows its name could have put something there before. So the folder is made exclusively,
or it is one that this user made: no link, and closed to everybody else. It is opened once, and
everything happens below the open folder, whatever becomes of its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import remove_leftovers
from hvdtrain.staging.journal import JOURNAL

DATA = "data"
"""The copy lies in this folder of the private one, beside the journal."""


@contextlib.contextmanager
def open_private(path: Path, *, create: bool = False) -> Iterator[Path | None]:
    """Open a private folder for this process alone; another one waits until it is done.

    Args:
        path: Path of the folder.
        create: Whether to make it when it is not there.

    Yields:
        A path to the open folder that no change of names can lead elsewhere; None: there is none.

    Raises:
        RunError: Something else is in its place, or it cannot be made.
    """
    descriptor = _open_locked(path, create)
    if descriptor is None:
        yield None
        return
    try:
        root = Path(f"/proc/self/fd/{descriptor}")
        remove_leftovers(root, JOURNAL)
        _check_content(path, root)
        yield root
    except OSError as error:
        raise RunError(f"{str(path)!r} cannot be used: {error.strerror}", _fix(path)) from None
    finally:
        os.close(descriptor)


def _open_locked(path: Path, create: bool) -> int | None:
    while True:
        try:
            if create:
                _make(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            if not create:
                return None
            raise RunError(
                f"there is no folder {str(path.parent)!r} on this node",
                "name one that every node has, as node.staging in the system file",
            ) from None
        except OSError as error:
            raise RunError(
                f"{str(path)!r} cannot be used: {_reason(path, error)}", _fix(path)
            ) from None
        try:
            _check_owner(path, os.fstat(descriptor))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # While this process waited, the one before it may have removed the folder.
            if _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _make(path: Path) -> None:
    above = os.stat(path.parent)
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise RunError(
            f"in {str(path.parent)!r} everybody may rename what belongs to others",
            f"chmod +t {path.parent}, or name another folder as node.staging in the system file",
        )
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise RunError(f"{str(path)!r} belongs to another user", _fix(path))
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise RunError(f"{str(path)!r} is open to other users", _fix(path))


def _check_content(path: Path, root: Path) -> None:
    """A folder that holds anything else was not made here: nothing in it is ours to remove."""
    names = set(os.listdir(root))
    if names and not {JOURNAL} <= names <= {JOURNAL, DATA}:
        other = min(names - {JOURNAL, DATA}, default=DATA)
        raise RunError(f"{str(path)!r} is no staged data: it holds {other!r}", _fix(path))
    if (root / DATA).is_symlink() or (root / JOURNAL).is_symlink():
        raise RunError(f"{str(path)!r} is no staged data: it holds a link", _fix(path))


def _reason(path: Path, error: OSError) -> str:
    return "it is a link" if path.is_symlink() else str(error.strerror)


def _fix(path: Path) -> str:
    return (
        f"remove {path} on this node, or have its owner remove it; "
        "or name another folder as node.staging in the system file"
    )
