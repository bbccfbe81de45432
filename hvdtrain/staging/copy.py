"""Copies a folder of training data to this node, and keeps what is there and still as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import replacing
from hvdtrain.names import name_some
from hvdtrain.staging.journal import JOURNAL, data_sha256, journal_line, read_journal
from hvdtrain.staging.listing import DataFile, Source
from hvdtrain.staging.private import DATA, open_private
from hvdtrain.staging.space import check_space

Tell = Callable[[int, int], None]
"""tell(done, total): bytes that are in place, and bytes of the whole."""

_CHUNK_BYTES = 4 << 20
_NAMED_FILES = 3
_QUEUED_PER_THREAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Staged:
    """What a node has now.

    Attributes:
        files: Files in the copy.
        size_bytes: Bytes of all files together.
        reused: Files that were there before and still whole.
        sha256: Of names and contents, the same on every node.
    """

    files: int
    size_bytes: int
    reused: int
    sha256: str


def copy_data(source: Source, path: Path, *, threads: int, first: float, tell: Tell) -> Staged:
    """Make a private folder hold the same files as the source. Links are followed and copied.

    Args:
        source: The training data, on a file system that all nodes share.
        path: The private folder; the data goes to the folder `data` in it.
        threads: Files read at the same time.
        first: Where in the list to begin, 0 to 1: nodes that all begin with the same file would
            all wait for the same disk.
        tell: tell(done, total): called while files are copied, in bytes.

    Raises:
        RunError: A file cannot be read or written, changes meanwhile, or there is no room.
    """
    files = source.files
    with open_private(path, create=True) as root:
        assert root is not None
        progress = _Progress(tell, _total(files))
        intact = _find_intact(files, root, threads, progress)
        _remove_others(root / DATA, {file.name for file in intact})
        turn = int(first * len(files))
        missing = [file for file in [*files[turn:], *files[:turn]] if file not in intact]
        check_space(path, root, missing)
        # Only what is known to be whole: a line about a file that was altered would vouch for it.
        with replacing(root / JOURNAL) as journal:
            journal.writelines(journal_line(*item) for item in intact.items())
        copied = _copy_files(source.folder, root, missing, threads, progress)
    return Staged(len(files), progress.total, len(intact), data_sha256(intact | copied))


def verify_data(source: Source, path: Path, *, threads: int) -> Staged:
    """Check that a private folder holds what the source lists, with the checksums it was read with.

    Raises:
        RunError: It does not; the message names some of the files.
    """
    files = source.files
    with open_private(path) as root:
        if root is None:
            raise RunError(f"there is no {path}", f"hvdtrain stage copy {source.folder} {path}")
        intact = _find_intact(files, root, threads)
        wrong = [file.name for file in files if file not in intact]
        wrong += sorted(_regular_files(root / DATA).keys() - {file.name for file in files})
    if wrong:
        named = name_some(list(map(repr, wrong)), _NAMED_FILES)
        raise RunError(
            f"in {path} some files are not as the source has them: {named}",
            "hvdtrain stage copy repairs them",
        )
    return Staged(len(files), _total(files), len(files), data_sha256(intact))


def open_data(source: Source, path: Path) -> None:
    """Make a private folder, and in it every folder of the source, for files that are sent there.

    Raises:
        RunError: The folder cannot be used, or there is no room.
    """
    files = source.files
    with open_private(path, create=True) as root:
        assert root is not None
        _remove_others(root / DATA, set())
        check_space(path, root, files)
        with replacing(root / JOURNAL):
            pass  # nothing is there yet
        for folder in sorted({os.path.dirname(file.name) for file in files}):
            (root / DATA / folder).mkdir(parents=True, exist_ok=True)


def remove_data(path: Path) -> bool:
    """Remove a private folder and all that is in it.

    Returns:
        Whether there was one.

    Raises:
        RunError: Something else is in its place, which stays; or it cannot be removed.
    """
    with open_private(path) as root:
        if root is None:
            return False
        if (root / DATA).exists():
            shutil.rmtree(root / DATA)
        (root / JOURNAL).unlink(missing_ok=True)
        path.rmdir()
    return True


class _Progress:
    """Adds up bytes for whoever wants to be told."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell = tell
        self.total = total
        self._done = 0

    def add(self, size_bytes: int) -> None:
        self._done += size_bytes
        self._tell(self._done, self.total)


def _total(files: Iterable[DataFile]) -> int:
    return sum(file.size_bytes for file in files)


def _find_intact(
    files: Sequence[DataFile], root: Path, threads: int, progress: _Progress | None = None
) -> dict[DataFile, str]:
    """SHA-256 of the files that are there and have the content that was read from the source."""
    journal = read_journal(root)
    sizes = _regular_files(root / DATA)
    likely = [file for file in files if file in journal and sizes.get(file.name) == file.size_bytes]

    def check(file: DataFile) -> bool:
        try:
            return _read_sha256(root / DATA / file.name) == journal[file]
        except OSError:  # a file that cannot be read is copied anew
            return False

    intact = {}
    for file, whole in _each(check, likely, threads):
        if whole:
            intact[file] = journal[file]
            if progress:
                progress.add(file.size_bytes)
    return intact


def _copy_files(
    source: Path, root: Path, files: Sequence[DataFile], threads: int, progress: _Progress
) -> dict[DataFile, str]:
    """Copy files, and write each down when it is whole, for when this process is cut off."""
    for folder in sorted({os.path.dirname(file.name) for file in files}):
        (root / DATA / folder).mkdir(parents=True, exist_ok=True)

    def copy(file: DataFile) -> str:
        return _copy_file(source / file.name, root / DATA / file.name, file)

    copied = {}
    with (root / JOURNAL).open("ab", buffering=0) as journal:
        for file, sha256 in _each(copy, files, threads):
            copied[file] = sha256
            journal.write(journal_line(file, sha256))
            progress.add(file.size_bytes)
    return copied


def _each(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Each item and what a function gives for it, in any order. Few wait: there may be millions."""
    waiting: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting[pool.submit(function, item)] = item
                if len(waiting) >= _QUEUED_PER_THREAD * threads:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        yield waiting.pop(future), future.result()
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _copy_file(source: Path, target: Path, file: DataFile) -> str:
    """Copy one file and read the copy back.

    Returns:
        Its SHA-256.
    """
    try:
        digest = hashlib.sha256()
        with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
            size_bytes = 0
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                _write_all(writer.fileno(), chunk)
            changed = os.fstat(reader.fileno()).st_mtime_ns != file.mtime_ns
        sha256 = _read_sha256(target)
    except FileNotFoundError:
        raise RunError(f"{str(source)!r} is not there any more", "start again") from None
    except OSError as error:
        raise RunError(f"{str(source)!r} cannot be copied: {error.strerror}") from None
    if changed or size_bytes != file.size_bytes:
        raise RunError(f"{str(source)!r} was changed while it was copied", "start again")
    if sha256 != digest.hexdigest():
        raise RunError(f"{file.name!r} is not what was written to it: do not use this node")
    return sha256


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _regular_files(folder: Path) -> dict[str, int]:
    """Name and size of every regular file below a folder; no link is followed."""
    found = {}
    for here, name in _entries(folder):
        entry = here / name
        if entry.is_file() and not entry.is_symlink():
            found[str(entry.relative_to(folder))] = entry.stat().st_size
    return found


def _entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folder and name of all that is below a folder, what lies deeper first."""
    for here, folders, files in os.walk(folder, topdown=False):
        for name in [*files, *folders]:
            yield Path(here), name


def _remove_others(folder: Path, kept: Iterable[str]) -> None:
    """Remove all that is below a folder but some files, and the folders that they lie in."""
    names = set(kept)
    for here, name in _entries(folder):
        entry = here / name
        if str(entry.relative_to(folder)) in names:
            continue
        if entry.is_symlink() or not entry.is_dir():
            entry.unlink()
        elif not os.listdir(entry):
            entry.rmdir()
