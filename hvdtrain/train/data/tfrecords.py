"""Folders of TFRecord shards: which files, and where each record starts.

A record is framed as length (8 bytes, little endian), checksum of the length (4), data, checksum
of the data (4). Stepping from frame to frame finds every record without reading any image.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hvdtrain.errors import InputError
from hvdtrain.train.data.fingerprint import fingerprint
from hvdtrain.train.data.manifest import Manifest, load_manifest

_SHARD = re.compile(r"(train|validation|val)-(\d+)-of-(\d+)(?:\.tfrecords?)?")
_FRAME_BYTES = 16


@dataclass(frozen=True)
class Shards:
    """The shards of a folder.

    Attributes:
        folder: Folder that holds all shards.
        train: Names of the training shards, in order.
        validation: Names of the validation shards, in order.
        manifest: What `hvdtrain prepare-data` wrote beside them, if it did.
    """

    folder: Path
    train: tuple[str, ...]
    validation: tuple[str, ...]
    manifest: Manifest | None


@dataclass(frozen=True)
class RecordIndex:
    """Where each record of a split starts.

    Attributes:
        paths: Paths of the shards, in the order of their records.
        shards: int32 [records]: which of `paths`.
        offsets: int64 [records]: bytes from the start of that file to the record's frame.
    """

    paths: tuple[str, ...]
    shards: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]


def find_shards(folder: Path) -> Shards | None:
    """The shards in a folder, or None when no file is named like one.

    Raises:
        InputError: A split without shards, a gap in their numbers, or a manifest that differs.
    """
    found: dict[str, dict[int, str]] = {"train": {}, "validation": {}}
    totals: dict[str, set[int]] = {"train": set(), "validation": set()}
    for name in sorted(os.listdir(folder)):
        if match := _SHARD.fullmatch(name):
            split = "train" if match[1] == "train" else "validation"
            found[split][int(match[2])] = name
            totals[split].add(int(match[3]))
    if not found["train"] and not found["validation"]:
        return None
    for split, names in found.items():
        _check_complete(folder, split, names, totals[split])
    shards = Shards(
        folder=folder,
        train=tuple(name for _, name in sorted(found["train"].items())),
        validation=tuple(name for _, name in sorted(found["validation"].items())),
        manifest=load_manifest(folder),
    )
    _check_manifest(shards)
    return shards


def count_records(shards: Shards, split: str) -> tuple[int, ...]:
    """Records in each shard of a split: from the manifest, or by stepping through the frames.

    Raises:
        InputError: A shard is damaged.
    """
    if shards.manifest is not None:
        return tuple(shard.images for shard in getattr(shards.manifest, split))
    return tuple(len(index_shard(shards.folder / name)) for name in getattr(shards, split))


def shards_fingerprint(shards: Shards, records: tuple[int, ...], classes: int) -> str:
    """Hash of the names, sizes and record counts of all shards, and of the number of classes."""
    parts: list[object] = ["tfrecords", classes]
    for name, count in zip(shards.train + shards.validation, records, strict=True):
        parts += [name, (shards.folder / name).stat().st_size, count]
    return fingerprint(parts)


def index_split(folder: Path, names: tuple[str, ...]) -> RecordIndex:
    """Find every record of a split.

    Raises:
        InputError: A shard is damaged.
    """
    offsets = [index_shard(folder / name) for name in names]
    lengths = [len(shard) for shard in offsets]
    return RecordIndex(
        paths=tuple(str(folder / name) for name in names),
        shards=np.repeat(np.arange(len(names), dtype=np.int32), lengths),
        offsets=np.concatenate(offsets),
    )


def index_shard(path: Path) -> npt.NDArray[np.int64]:
    """Byte offset of each record's frame in one shard.

    Raises:
        InputError: The frames do not end where the file ends: cut off, compressed, or no TFRecord.
    """
    offsets: list[int] = []
    offset = 0
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError("data", str(path), f"a readable file: {error.strerror}") from error
    try:
        size_bytes = os.fstat(file).st_size
        while offset < size_bytes:
            header = os.pread(file, 8, offset)
            length: int = struct.unpack("<Q", header)[0] if len(header) == 8 else size_bytes
            if offset + _FRAME_BYTES + length > size_bytes:
                allowed = (
                    f"record {len(offsets)} at byte {offset} runs past the end of the file: "
                    "cut off, compressed, or no TFRecord"
                )
                raise InputError("data", str(path), allowed, "copy or prepare this shard again")
            offsets.append(offset)
            offset += _FRAME_BYTES + length
    finally:
        os.close(file)
    return np.asarray(offsets, dtype=np.int64)


def _check_complete(folder: Path, split: str, names: dict[int, str], totals: set[int]) -> None:
    if not names:
        allowed = f"shards of both splits; there is no {split}-*-of-*"
        raise InputError("data", str(folder), allowed)
    if len(totals) != 1:
        allowed = f"one set of shards; the {split} shards say {sorted(totals)} in all"
        raise InputError("data", str(folder), allowed, "remove the shards of the other set")
    missing = sorted(set(range(totals.pop())) - set(names))
    if missing:
        allowed = f"all {split} shards; number {missing[0]} is missing ({len(missing)} in all)"
        raise InputError("data", str(folder), allowed, "copy or prepare the missing shards")


def _check_manifest(shards: Shards) -> None:
    if shards.manifest is None:
        return
    for split in ("train", "validation"):
        known = tuple(shard.name for shard in getattr(shards.manifest, split))
        if known != getattr(shards, split):
            allowed = f"the {split} shards that the manifest names, and no others"
            raise InputError("data", str(shards.folder), allowed, "prepare the data again")
