"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is one NumPy archive, readable by `numpy.load` without pickle:

    state    JSON of `TrainingState`, as bytes
    0000 ..  weights, moving statistics of rank 0, and slots of the optimizer, as `state` names them
    own      moving statistics of every rank, float32 [ranks, values]; one row when all are equal
    sha256   of all the others

It is written aside, brought to the disk, and renamed, so that a name never stands for half a file.

A snapshot is a checkpoint that a recipe asks for. It has a number and stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.lib.format import write_array

from hvdtrain.files.atomic import remove_leftovers, replacing, run_errors
from hvdtrain.runs.folder import START_AGAIN
from hvdtrain.runs.plan_diff import plan_changes
from hvdtrain.train.state import TrainingState

KEPT_CHECKPOINTS = 2
"""The newest, and the one before it for when the newest turns out to be damaged."""

_NAME = re.compile(r"checkpoint-(\d{10})\.npz")
_SNAPSHOT_NAME = re.compile(r"snapshot-([1-9]\d{0,8})\.npz")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """A run at rest.

    Attributes:
        state: How far it has come.
        replicated: Values of the variables that `state` names.
        per_rank: Moving statistics of every rank: float32 [ranks, values], or [1, values] where all
            ranks have the same.
    """

    state: TrainingState
    replicated: Sequence[Array]
    per_rank: Array


class DamagedError(Exception):
    """A file is no whole checkpoint; says why."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove those that are older than the one before it.

    One process at a time may write to a folder.

    Args:
        folder: Of all checkpoints of the run; made when it is missing.
        checkpoint: What to write.

    Returns:
        The file.

    Raises:
        RunError: The folder cannot be written to, or the disk is full. Older checkpoints stay.
    """
    path = folder / f"checkpoint-{checkpoint.state.step:010d}.npz"
    _write_archive("checkpoint", path, checkpoint)
    for _, old in _find(folder)[KEPT_CHECKPOINTS:]:
        with run_errors(f"the checkpoint {old} cannot be removed"):
            old.unlink()
    return path


def write_snapshot(folder: Path, number: int, checkpoint: Checkpoint) -> Path:
    """Write a snapshot, unless it is there: a run that is continued may come by once more.

    Args:
        folder: Of all snapshots of the run; made when it is missing.
        number: Of the snapshot, from 1.
        checkpoint: What to write. It takes the place of a file that is damaged, or that an
            earlier plan of the run has left.

    Returns:
        The file.

    Raises:
        RunError: The folder cannot be written to, or the disk is full.
    """
    path = folder / f"snapshot-{number}.npz"
    with contextlib.suppress(DamagedError):
        if not plan_changes(read_checkpoint(path).state.plan, checkpoint.state.plan):
            return path
    _write_archive("snapshot", path, checkpoint)
    return path


def find_snapshots(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder by their numbers, ascending."""
    try:
        matches = filter(None, map(_SNAPSHOT_NAME.fullmatch, os.listdir(folder)))
    except FileNotFoundError:
        return {}
    return dict(sorted((int(match[1]), folder / match[0]) for match in matches))


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole.

    Returns:
        The checkpoint, None when there is none; and what was found wrong with newer ones, a line
        for each.
    """
    damaged: list[str] = []
    for path in (path for _, path in _find(folder)):
        try:
            return read_checkpoint(path), damaged
        except DamagedError as error:
            damaged.append(f"the checkpoint {path} is damaged and not used: {error}")
    return None, damaged


def newest_step(folder: Path) -> int:
    """Step of the newest checkpoint in a folder, whole or not; 0: there is none."""
    return max((step for step, _ in _find(folder)), default=0)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one file.

    Raises:
        DamagedError: It is not a checkpoint, or not all of it is as it was written.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        written = members.pop("sha256").tobytes().decode()
        state = msgspec.json.decode(members["state"].tobytes(), type=TrainingState)
        replicated = [members[f"{number:04d}"] for number in range(len(state.names))]
        per_rank = members["own"]
    except KeyError as error:
        raise DamagedError(f"it has no {error.args[0]}") from None
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from None
    except Exception as error:  # what NumPy raises depends on which byte is wrong
        raise DamagedError(str(error) or type(error).__name__) from None
    if written != _digest(members):
        raise DamagedError("its checksum is not that of its content")
    return Checkpoint(state, replicated, per_rank)


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a run, and what was being written when it was cut off."""
    _remove_leftovers(folder)
    for _, path in _find(folder):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left half written, those of 0.1.0 too."""
    remove_leftovers(folder)
    with contextlib.suppress(OSError):
        for path in folder.glob("checkpoint-*.partial"):
            path.unlink()


def _find(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files of the checkpoints in a folder, the newest first."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = filter(None, map(_NAME.fullmatch, names))
    return sorted(((int(match[1]), folder / match[0]) for match in matches), reverse=True)


def _write_archive(what: str, path: Path, checkpoint: Checkpoint) -> None:
    members = _members(checkpoint)
    members["sha256"] = _as_bytes(_digest(members).encode())
    with run_errors(f"the {what} {path} cannot be written", START_AGAIN):
        path.parent.mkdir(exist_ok=True)
        _remove_leftovers(path.parent)
        # As `np.savez`, which leaves its archive open when the disk is full: Python would then
        # print a traceback when it clears up.
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in members.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_array(member, array, allow_pickle=False)  # type: ignore[no-untyped-call]


def _members(checkpoint: Checkpoint) -> dict[str, Array]:
    members = {"state": _as_bytes(msgspec.json.encode(checkpoint.state))}
    members |= {f"{number:04d}": array for number, array in enumerate(checkpoint.replicated)}
    members["own"] = checkpoint.per_rank
    return members


def _digest(members: Mapping[str, Array]) -> str:
    """SHA-256 over name, type, shape and bytes of every array."""
    digest = hashlib.sha256()
    for name in sorted(members):
        array = np.ascontiguousarray(members[name])
        digest.update(f"{name} {array.dtype.str} {members[name].shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _as_bytes(data: bytes) -> Array:
    return np.frombuffer(data, np.uint8)
