"""Image folders: `train/<class>/*.jpg` and `val/<class>/*.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hvdtrain.errors import InputError
from hvdtrain.files.paths import require_utf8
from hvdtrain.names import name_some
from hvdtrain.train.data.fingerprint import fingerprint

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png")

_FOLDER, _IMAGE, _LINK = "folders", "images", "links to nothing"

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
    """Both splits and the sorted class names.

    Attributes:
        unread: What else lies in the folders of both: a line for each kind, for people.
    """

    train: FolderSplit
    validation: FolderSplit
    classes: tuple[str, ...]
    unread: tuple[str, ...]

    def fingerprint(self) -> str:
        """Hash of the class and file names.

        Contents and sizes are not read: on a parallel file system that would cost one request per
        image.
        """
        splits = (self.train, self.validation)
        return fingerprint(("folders", *self.classes, *(n for s in splits for n in s.names)))


def list_folders(path: Path) -> ImageFolders:
    """List the images below `path`, without opening any.

    Hidden files do not count. What has no suffix of an image, or is a link to nothing, is counted.

    Raises:
        InputError: Not this layout, a class without images, a class that is a link to nothing,
            splits whose classes differ, or a name that is not UTF-8.
    """
    unread = _Unread(path)
    classes = _class_names(path / "train", unread)
    other = _class_names(path / "val", unread)
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
        train=_list_split(path / "train", classes, unread),
        validation=_list_split(path / "val", classes, unread),
        classes=classes,
        unread=unread.lines(),
    )


@dataclass
class _Unread:
    """What is left out: how much of each kind, and the first of it."""

    root: Path
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, path)

    def lines(self) -> tuple[str, ...]:
        return tuple(
            f"left out of {self.root}: {kind}: {count}, such as {self.first[kind]!r}"
            for kind, count in sorted(self.counts.items())
        )


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Visible entries of a folder, an unreadable one reported as the user's to mend."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise InputError("data", str(folder), f"{_LAYOUT}: {reason.lower()}") from error


def _class_names(split: Path, unread: _Unread) -> tuple[str, ...]:
    classes, images = [], 0
    for entry in _scan(split):
        kind = _kind(entry)
        if kind == _FOLDER:
            classes.append(require_utf8("data", entry.path) and entry.name)
        elif kind == _LINK:
            allowed = "a class is a folder, and this is a link to nothing"
            raise InputError("data", entry.path, allowed, "mend or remove the link")
        else:
            images += kind == _IMAGE
            unread.add(f"{kind} beside the folders of the classes", entry.path)
    if not classes:
        fix = "move each image into the folder of its class" if images else ""
        raise InputError("data", str(split), f"{_LAYOUT}; this one has no class folders", fix)
    return tuple(sorted(classes))


def _list_split(root: Path, classes: tuple[str, ...], unread: _Unread) -> FolderSplit:
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = []
        for entry in _scan(root / name):
            kind = _kind(entry)
            if kind == _IMAGE:
                images.append(require_utf8("data", entry.path) and entry.name)
            else:
                unread.add(kind, entry.path)
        if not images:
            allowed = f"every class needs at least one image ({', '.join(IMAGE_SUFFIXES)})"
            raise InputError("data", str(root / name), allowed, "remove the folder or fill it")
        names.extend(f"{name}/{image}" for image in sorted(images))
        labels.extend([label] * len(images))
    return FolderSplit(root=root, names=tuple(names), labels=tuple(labels))


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is, in the plural."""
    try:
        if entry.is_dir():
            return _FOLDER
        if not entry.is_file():
            return _LINK if entry.is_symlink() else "pipes, sockets or devices"
    except OSError:  # a link to itself, or into a folder that may not be entered
        return _LINK
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return _IMAGE
    return f"files ending in {suffix}" if suffix else "files without a suffix"
