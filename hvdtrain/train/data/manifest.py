"""The file that `hvdtrain prepare-data` leaves beside the shards it wrote."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hvdtrain.errors import InputError

MANIFEST_NAME = "manifest.json"


class Shard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One finished shard.

    Attributes:
        name: Name of the shard's file.
        images: Records in the shard, one for each image.
        size_bytes: Bytes of the file.
        corrupt: Names of the images that could not be decoded and are not in it.
    """

    name: str
    images: int
    size_bytes: int
    corrupt: tuple[str, ...] = ()


class ShardOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What decides the content of every shard. Shards of equal origin are equal.

    Attributes:
        source_fingerprint: Fingerprint of the image folders.
        train_shards: Number of training shards.
        validation_shards: Number of validation shards.
        seed: Seed of the shuffle, 0 to 2^31 - 1.
        size: Pixels of the shorter side of the stored images; None keeps the original bytes.
    """

    source_fingerprint: str
    train_shards: int
    validation_shards: int
    seed: int
    size: int | None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All shards of a folder, in the order of their names, and the class names."""

    schema_version: int
    origin: ShardOrigin
    classes: tuple[str, ...]
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder of shards, or None where there is none.

    Raises:
        InputError: It cannot be read, or a shard is missing or has another size than it says.
    """
    path = folder / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        fix = "remove the file: the shards are then counted record by record"
        raise InputError("data", str(path), f"not a manifest of shards: {error}", fix) from error
    for shard in (*manifest.train, *manifest.validation):
        file = folder / shard.name
        size_bytes = file.stat().st_size if file.is_file() else 0
        if size_bytes != shard.size_bytes:
            allowed = f"{MANIFEST_NAME} says {shard.size_bytes} bytes, here are {size_bytes}"
            fix = "copy the data again, or remove the folder and prepare them again"
            raise InputError("data", str(file), allowed, fix)
    return manifest
