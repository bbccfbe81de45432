"""Image folders: `train/<class>/*.jpg` and `val/<class>/*.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.errors import InputError
from hvdtrain.names import name_some
from hvdtrain.train.data.fingerprint import fingerprint

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_LAYOUT = "a folder with train/ and val/, each with one folder of images per class"


@dataclass(frozen=True)
class FolderSplit:
    """The images of one split, in the order of their names.

    Attributes:
        root: `<data>/train` or `<data>/val`.
        names: `<class>/<file>` of each image.
        labels: Class index of each image: the position of its class among the sorted names.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ImageFolders:
    """Both splits and the sorted class names."""

    train: FolderSplit
    validation: FolderSplit
    classes: tuple[str, ...]

    def fingerprint(self) -> str:
        """Hash of the class and file names.

        Contents and sizes are not read: on a parallel file system that would cost one request per
        image.
        """
        splits = (self.train, self.validation)
        return fingerprint(("folders", *self.classes, *(n for s in splits for n in s.names)))


def list_folders(path: Path) -> ImageFolders:
    """List the images below `path`, without opening any.

    Hidden files and files without an image suffix (.jpg, .jpeg, .png) are no images.

    Raises:
        InputError: Not this layout, a class without images, or splits whose classes differ.
    """
    classes = _class_names(path / "train")
    other = _class_names(path / "val")
    if classes != other:
        missing = sorted(set(classes) ^ set(other))
        raise InputError(
            "data",
            str(path),
            "train/ and val/ must hold the same classes; only one of them has "
            + name_some(missing, 5),
            "add the missing class folders, or remove the others",
        )
    return ImageFolders(
        train=_list_split(path / "train", classes),
        validation=_list_split(path / "val", classes),
        classes=classes,
    )


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Visible entries of a folder, an unreadable one reported as the user's to mend."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise InputError("data", str(folder), f"{_LAYOUT}: {reason.lower()}") from error


def _class_names(split: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in _scan(split) if entry.is_dir()))
    if not classes:
        raise InputError("data", str(split), f"{_LAYOUT}; this one has no class folders")
    return classes


def _list_split(root: Path, classes: tuple[str, ...]) -> FolderSplit:
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(
            entry.name
            for entry in _scan(root / name)
            if entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file()
        )
        if not images:
            allowed = f"every class needs at least one image ({', '.join(IMAGE_SUFFIXES)})"
            raise InputError("data", str(root / name), allowed, "remove the folder or fill it")
        names.extend(f"{name}/{image}" for image in images)
        labels.extend([label] * len(images))
    return FolderSplit(root=root, names=tuple(names), labels=tuple(labels))
