"""From a path to the kind of data behind it and the facts a plan needs. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.paths import absolute_path
from hvdtrain.plan.method.dataset import IMAGENET_CLASSES, DataKind, DatasetInfo, DataSource
from hvdtrain.train.data.folders import ImageFolders, list_folders
from hvdtrain.train.data.manifest import MANIFEST_NAME
from hvdtrain.train.data.tfrecords import (
    Shards,
    count_records,
    find_shards,
    shards_fingerprint,
)

_LAYOUTS = (
    "a folder with train/ and val/, each with one folder of images per class, or a folder of "
    "TFRecord shards train-*-of-* and validation-*-of-*"
)


def discover(
    path: str | Path,
    classes: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[DataSource, DatasetInfo]:
    """Find out what data a path holds.

    Args:
        path: Folder of images (train/ and val/), or of TFRecord shards.
        classes: Number of classes of TFRecord shards that have no manifest, where the records
            do not say. Default: 1000, as in ImageNet.
        tell: Told a line for each kind of file that is left out.

    Returns:
        The source, with an absolute path, and its facts. No image is decoded.

    Raises:
        InputError: Nothing there, neither of the layouts, or an incomplete one.
    """
    folder = Path(absolute_path("data", path))
    found = find_data(folder)
    for line in unread(found):
        tell(line)
    return DataSource(kind=_kind(found), path=str(folder)), describe(found, classes)


def find_data(folder: Path) -> ImageFolders | Shards:
    """List the files of a data set.

    Raises:
        InputError: As in discover.
    """
    try:
        entries = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise InputError("data", str(folder), f"{_LAYOUTS}: {reason.lower()}") from error
    if (folder / "train").is_dir() or (folder / "val").is_dir():
        return list_folders(folder)
    shards = find_shards(folder)
    if shards is None:
        listed = ", ".join(entries[:5]) or "nothing"
        raise InputError("data", str(folder), f"{_LAYOUTS}; found {listed}")
    return shards


def unread(found: ImageFolders | Shards) -> tuple[str, ...]:
    """What lies among the images and is none: a line for each kind."""
    return found.unread if isinstance(found, ImageFolders) else ()


def data_files(found: ImageFolders | Shards) -> tuple[str, ...]:
    """All files that a training reads, by their paths below the folder of the data."""
    if isinstance(found, ImageFolders):
        splits = (found.train, found.validation)
        return tuple(f"{split.root.name}/{name}" for split in splits for name in split.names)
    manifest = (MANIFEST_NAME,) if found.manifest else ()
    return (*found.train, *found.validation, *manifest)


def describe(found: ImageFolders | Shards, classes: int | None) -> DatasetInfo:
    """The facts of a data set.

    Args:
        found: The files, from `find_data`.
        classes: Number of classes; None: as many as the data has.

    Raises:
        InputError: A shard is damaged, or a split is empty.
    """
    if isinstance(found, ImageFolders):
        return DatasetInfo(
            train_images=len(found.train.names),
            validation_images=len(found.validation.names),
            classes=len(found.classes),
            fingerprint=found.fingerprint(),
        )
    known = len(found.manifest.classes) if found.manifest else classes or IMAGENET_CLASSES
    train, validation = count_records(found, "train"), count_records(found, "validation")
    for split, records in (("training", train), ("validation", validation)):
        if sum(records) == 0:
            raise InputError("data", str(found.folder), f"its {split} shards hold no record")
    return DatasetInfo(
        train_images=sum(train),
        validation_images=sum(validation),
        classes=known,
        fingerprint=shards_fingerprint(found, train + validation, known),
    )


def find_planned(source: DataSource, planned: DatasetInfo) -> ImageFolders | Shards:
    """The data that a plan was made for.

    Raises:
        InputError: The data cannot be used at all.
        RunError: They can, but they are others than planned.
    """
    found = find_data(Path(source.path))
    info = describe(found, planned.classes)
    if planned.fingerprint == "":
        info = msgspec.structs.replace(info, fingerprint="")
    if _kind(found) != source.kind or info != planned:
        raise RunError(
            f"{source.path}: these are not the data of the plan\n"
            f"  planned: {source.kind}, {_summary(planned)}\n"
            f"  found:   {_kind(found)}, {_summary(info)}",
            "give the data of the plan, or make a new plan",
        )
    return found


def _kind(found: ImageFolders | Shards) -> DataKind:
    return "folders" if isinstance(found, ImageFolders) else "tfrecords"


def _summary(info: DatasetInfo) -> str:
    return (
        f"{info.train_images} training and {info.validation_images} validation images, "
        f"{info.classes} classes, fingerprint {info.fingerprint or 'unknown'}"
    )
