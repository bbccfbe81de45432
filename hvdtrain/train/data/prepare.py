"""Writes TFRecord shards from image folders, so that an interrupted run can go on.

A shard is written under a hidden name and renamed when it is whole; then a line goes into the
journal. The same command finds the journal and goes on behind it. The manifest comes last.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import tensorflow as tf

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.atomic import remove_leftovers, replace_file
from hvdtrain.train.data.corrupt import explain
from hvdtrain.train.data.folders import FolderSplit, ImageFolders, list_folders
from hvdtrain.train.data.manifest import MANIFEST_NAME, Manifest, Shard, ShardOrigin, load_manifest
from hvdtrain.train.data.sampler import Examples, permute
from hvdtrain.train.data.shardwriter import Progress, ShardWriter

JOURNAL_NAME = ".prepare-data.jsonl"
GO_ON = "start the same command again: it goes on where it stopped"


@dataclass(frozen=True)
class PrepareJob:
    """What to write.

    Attributes:
        source: Folder with train/ and val/, each with one folder for each class.
        destination: Folder for the shards.
        train_shards: Number of training shards.
        validation_shards: Number of validation shards.
        seed: Seed of the shuffle, 0 .. 2^64 - 1.
        size: Shrink images to this many pixels on the shorter side; None keeps the files.
    """

    source: Path
    destination: Path
    train_shards: int
    validation_shards: int
    seed: int = 0
    size: int | None = None


def prepare(job: PrepareJob, progress: Progress) -> Manifest:
    """Write all shards that are not there yet, and the manifest.

    Raises:
        InputError: The source is no image folder, there are more shards than images, or the
            destination holds something else.
        RunError: A shard cannot be written, or holds no image that can be decoded.
    """
    folders = list_folders(job.source)
    for line in folders.unread:
        progress.unread(line)
    _check_shards("--shards", job.train_shards, len(folders.train.names))
    _check_shards("--validation-shards", job.validation_shards, len(folders.validation.names))
    origin = ShardOrigin(
        source_fingerprint=folders.fingerprint(),
        train_shards=job.train_shards,
        validation_shards=job.validation_shards,
        seed=job.seed,
        size=job.size,
    )
    whole = _find_whole(job.destination, origin)
    if whole is not None:
        # Of one that was killed when all was done.
        with contextlib.suppress(OSError):
            (job.destination / JOURNAL_NAME).unlink()
        return whole
    try:
        done = _open_journal(job.destination, origin)
        manifest = _write_missing(job, origin, folders, done, progress)
        replace_file(job.destination / MANIFEST_NAME, msgspec.json.encode(manifest), GO_ON)
        (job.destination / JOURNAL_NAME).unlink()
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror if isinstance(error, OSError) else explain(error)
        raise RunError(
            f"{job.destination}: {reason}",
            f"make room or change the destination; {GO_ON}",
        ) from error
    return manifest


def _check_shards(option: str, shards: int, images: int) -> None:
    if not 1 <= shards <= images:
        raise InputError(option, shards, f"1 to the number of images, {images}")


def _find_whole(destination: Path, origin: ShardOrigin) -> Manifest | None:
    """The manifest of an earlier run of the same job that came to its end."""
    if not destination.is_dir():
        return None
    manifest = load_manifest(destination)
    if manifest is not None and manifest.origin != origin:
        _refuse(destination, "it holds shards of other images or with other options")
    return manifest


def _open_journal(destination: Path, origin: ShardOrigin) -> dict[str, Shard]:
    """The shards that an earlier run of the same job has finished; a new journal if none has."""
    destination.mkdir(parents=True, exist_ok=True)
    journal = destination / JOURNAL_NAME
    remove_leftovers(destination, JOURNAL_NAME.removeprefix("."))
    if not journal.exists():
        if any(destination.iterdir()):
            _refuse(destination, "it is not empty")
        replace_file(journal, msgspec.json.encode(origin) + b"\n", GO_ON)
        return {}
    first, *lines = journal.read_bytes().split(b"\n")
    try:
        same = msgspec.json.decode(first, type=ShardOrigin) == origin
        # What follows the last line feed was cut off by the interruption.
        shards = [msgspec.json.decode(line, type=Shard) for line in lines[:-1]]
    except msgspec.DecodeError:
        same, shards = False, []
    if not same:
        _refuse(destination, "it holds the beginning of other shards")
    remove_leftovers(destination)
    whole = [
        shard
        for shard in shards
        if (destination / shard.name).is_file()
        and (destination / shard.name).stat().st_size == shard.size_bytes
    ]
    lines_kept = b"".join(msgspec.json.encode(x) + b"\n" for x in (origin, *whole))
    replace_file(journal, lines_kept, GO_ON)
    return {shard.name: shard for shard in whole}


def _refuse(destination: Path, reason: str) -> None:
    allowed = f"a new or empty folder, or one that the same command has begun; {reason}"
    raise InputError("DEST", str(destination), allowed, "give another folder")


def _write_missing(
    job: PrepareJob,
    origin: ShardOrigin,
    folders: ImageFolders,
    done: dict[str, Shard],
    progress: Progress,
) -> Manifest:
    splits = {"train": folders.train, "validation": folders.validation}
    counts = {"train": job.train_shards, "validation": job.validation_shards}
    plans = {split: _plan_shards(split, splits[split], counts[split], job.seed) for split in splits}
    earlier = sum(
        len(examples) for plan in plans.values() for name, examples in plan.items() if name in done
    )
    progress.started(sum(len(split.names) for split in splits.values()), earlier)
    shards: dict[str, tuple[Shard, ...]] = {}
    with open(job.destination / JOURNAL_NAME, "ab") as journal:
        for split, plan in plans.items():
            writer = ShardWriter(
                splits[split], folders.classes, job.destination, job.size, progress
            )
            for name, examples in plan.items():
                if name not in done:
                    done[name] = writer.write(name, examples)
                    journal.write(msgspec.json.encode(done[name]) + b"\n")
                    journal.flush()
                    os.fsync(journal.fileno())
                    progress.finished(done[name])
            shards[split] = tuple(done[name] for name in plan)
    return Manifest(schema_version=1, origin=origin, classes=folders.classes, **shards)


def _plan_shards(split: str, images: FolderSplit, shards: int, seed: int) -> dict[str, Examples]:
    """Which images go into which shard: shuffled, and in parts that differ by one at most."""
    parts = np.array_split(permute(len(images.names), seed, 0), shards)
    return {f"{split}-{i:05d}-of-{shards:05d}": part for i, part in enumerate(parts)}
