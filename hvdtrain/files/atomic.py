"""The one writer of files that are kept: a name stands for the old file or for the new one.

A file is written beside its place under a hidden name of its own, brought to the disk, and put
into its place; then the folder, which holds the name, is brought to the disk, too. So neither a
full disk nor a node that dies leaves half a file, and what comes later, such as the record of a
run, is never on the disk before what it speaks of, such as the run's weights.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from hvdtrain.errors import InputError, RunError

_PARTIAL = ".partial"
_SHOWN_OF_A_NAME = 40

_FIXES = {
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "your quota there is used up: remove files, or ask for more",
    errno.EROFS: "that file system takes no writes: name another folder, or ask its administrators",
    errno.EACCES: "make the folder writable, or name another one",
    errno.EPERM: "make the folder writable, or name another one",
}

# What a rename of a folder answers when something is in its place.
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}

# What says that a file system brings its folders to the disk by itself, or lets nobody ask.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES}


def replace_file(path: Path, content: bytes, then: str = "") -> None:
    """Put a file into its place; one that is there is replaced.

    Args:
        path: A symbolic link keeps pointing where it did, and the file there is replaced.
        content: What the file will hold.
        then: What to do when there is room again.

    Raises:
        RunError: The file cannot be written. What was there stays.
    """
    with run_errors(f"{path} cannot be written", then), replacing(path) as file:
        file.write(content)


def create_file(path: Path, content: bytes, then: str = "") -> bool:
    """Put a file into a place where nothing is yet.

    Returns:
        Whether this call did; False: there is something of that name.

    Raises:
        RunError: The file cannot be written.
    """
    with run_errors(f"{path} cannot be written", then), _file_aside(path) as file:
        file.write(content)
        _sync(file)
        # A link fails where the name is taken; a rename would replace what is there.
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            # Who has the place may have removed what lies beside it; else the folder is gone.
            if not os.path.lexists(path):
                raise
            return False
        try:
            # Before the folder is on the disk: who is killed now leaves one name, not two.
            Path(file.name).unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError:
            # Who is told that it failed starts again, and must find the place empty.
            path.unlink(missing_ok=True)
            raise
    return True


def create_folder(path: Path, files: Mapping[str, bytes]) -> bool:
    """Make a folder with files in it, all at once. Folders above it are made where missing.

    Args:
        path: Where nothing may be but an empty folder.
        files: Name and content of each.

    Returns:
        Whether this call did; False: there is something of that name.

    Raises:
        RunError: It cannot be made.
    """
    aside = _name_aside(path)
    with run_errors(f"the folder {path} cannot be made"):
        try:
            aside.mkdir(parents=True)
            for name, content in files.items():
                with (aside / name).open("xb") as file:
                    file.write(content)
                    _sync(file)
            _sync_folder(aside)
            aside.rename(path)
        except OSError as error:
            remove_folder(aside, files)
            if error.errno in _TAKEN and os.path.lexists(path):
                return False
            raise
        try:
            _sync_folder(path.parent)
        except OSError:
            remove_folder(path, files)
            raise
    return True


def remove_folder(path: Path, names: Iterable[str]) -> None:
    """Remove a folder and the files that it was made with, as far as that is possible."""
    with contextlib.suppress(OSError):
        for name in names:
            (path / name).unlink(missing_ok=True)
        path.rmdir()


def rename(path: Path, target: Path) -> None:
    """Give a file or a folder another name on the same file system.

    Raises:
        RunError: It cannot be renamed.
    """
    with run_errors(f"{path} cannot be renamed to {target.name}"):
        path.rename(target)
        _sync_folder(target.parent)


def write_output(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Put what a command has made into the file that the user named.

    Args:
        path: As of `replace_file`.
        content: Text as UTF-8.
        option: What the user calls the path.

    Raises:
        InputError: The file cannot be written there, or is a folder or a device.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(option, str(path), "a regular file, or one that does not exist yet")
        with replacing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        allowed = f"a file that can be written: {_reason(error)}"
        raise InputError(option, str(path), allowed, _FIXES.get(error.errno or 0, "")) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block has ended, and else is gone.

    For what is too large for `replace_file`, or is written by a library that wants a file or the
    name of one (`file.name`).

    Raises:
        OSError: The file cannot be written. What was there stays.
    """
    # Only what is a link itself: the folder may be open under a name that leads nowhere else.
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    with _file_aside(target) as file:
        yield file
        _sync(file)
        os.replace(file.name, target)
        _sync_folder(target.parent)


@contextlib.contextmanager
def run_errors(failed: str, then: str = "") -> Iterator[None]:
    """Turn what the operating system refuses into an error of the run, with what to do.

    Args:
        failed: What could not be done.
        then: What to do when the reason is gone.

    Raises:
        RunError: The block has raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        fixes = filter(None, (_FIXES.get(error.errno or 0, ""), then))
        raise RunError(f"{failed}: {_reason(error)}", "; then ".join(fixes)) from None


def remove_leftovers(folder: Path, begin: str = "") -> None:
    """Remove what processes that were killed have left half written.

    No other process may be writing such files.

    Args:
        folder: Where they were writing.
        begin: How the names of the files begin that they were writing.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{begin}*{_PARTIAL}"):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _file_aside(target: Path) -> Iterator[BinaryIO]:
    """A new file beside another one. Its name is gone when the block has ended, however it ends."""
    aside = _name_aside(target)
    try:
        with open(str(aside), "xb") as file:
            yield file
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _name_aside(target: Path) -> Path:
    # A name of its own: two processes may write the same file at the same time.
    shown = target.name[:_SHOWN_OF_A_NAME].removeprefix(".")
    return target.with_name(f".{shown}.{secrets.token_hex(4)}{_PARTIAL}")


def _sync(file: BinaryIO) -> None:
    """Bring the content of a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can be asked to."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
