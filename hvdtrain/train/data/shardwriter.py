"""Writes TFRecord shards in ImageNet's layout, without the images that cannot be decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import replacing
from hvdtrain.train.data.corrupt import explain
from hvdtrain.train.data.decode import decode_image
from hvdtrain.train.data.folders import FolderSplit
from hvdtrain.train.data.manifest import Shard
from hvdtrain.train.data.readers import Split, open_folder
from hvdtrain.train.data.sampler import Examples

_JPEG_QUALITY = 90
_FORMATS = {b"\x89PNG": b"PNG", b"GIF8": b"GIF"}


@dataclass(frozen=True)
class Progress:
    """What is called on the way.

    Attributes:
        started: With the number of images to read and the number that earlier runs have done.
        advanced: With a number of images done since the last call.
        finished: Called with each shard that is complete.
        corrupt: With the path of an image that is left out, and why.
        unread: With a line for each kind of file that is no image.
    """

    started: Callable[[int, int], None]
    advanced: Callable[[int], None]
    finished: Callable[[Shard], None]
    corrupt: Callable[[str, str], None]
    unread: Callable[[str], None]


class StoredImage(NamedTuple):
    """An image as it goes into a record."""

    example: int
    encoded: bytes
    height: int
    width: int


class ShardWriter:
    """Writes the shards of one split.

    Args:
        images: Files of the split, and how to read them.
        classes: Names of the classes, in the order of their labels.
        destination: Folder for the shards.
        size: Pixels of the shorter side that larger images shrink to; None keeps the files.
        progress: Callbacks for images and shards that are written.
    """

    def __init__(
        self,
        images: FolderSplit,
        classes: tuple[str, ...],
        destination: Path,
        size: int | None,
        progress: Progress,
    ) -> None:
        self._images = images
        self._classes = classes
        self._destination = destination
        self._size = size
        self._progress = progress
        self._split: Split = open_folder(images)
        signature = [tf.TensorSpec([], tf.int64)]
        self._load = tf.function(self._load_example, signature, autograph=False)

    def write(self, name: str, examples: Examples) -> Shard:
        """Write one shard from these images.

        Raises:
            RunError: None of them can be decoded.
            OSError: The shard cannot be written.
            tf.errors.OpError: Likewise.
        """
        corrupt: list[str] = []
        with replacing(self._destination / name) as file:
            with tf.io.TFRecordWriter(file.name) as writer:
                for stored in self._decodable(examples, corrupt):
                    writer.write(self._make_record(stored))
                    self._progress.advanced(1)
            self._progress.advanced(len(corrupt))
            if len(corrupt) == len(examples):
                raise RunError(f"no image of {name} can be decoded", "check the source")
            size_bytes = os.fstat(file.fileno()).st_size
        return Shard(
            name=name,
            images=len(examples) - len(corrupt),
            size_bytes=size_bytes,
            corrupt=tuple(corrupt),
        )

    def _decodable(self, examples: Examples, corrupt: list[str]) -> Iterator[StoredImage]:
        """The images that can be decoded, in order; the others go into `corrupt` and are told."""
        dataset = tf.data.Dataset.from_tensor_slices(examples)
        loaded = dataset.map(self._load, num_parallel_calls=len(os.sched_getaffinity(0)))
        wanted = iter(examples.tolist())
        # Order is kept, so what is missing before an image that came is corrupt.
        for example, encoded, shape in loaded.ignore_errors(log_warning=False):
            while (next_wanted := next(wanted)) != int(example):
                self._note(next_wanted, corrupt)
            height, width, _ = shape.numpy().tolist()
            yield StoredImage(int(example), encoded.numpy(), height, width)
        for missing in wanted:
            self._note(missing, corrupt)

    def _note(self, example: int, corrupt: list[str]) -> None:
        try:
            self._load(example)
            reason = "cannot be read reliably"
        except tf.errors.OpError as error:
            reason = explain(error)
        corrupt.append(self._images.names[example])
        self._progress.corrupt(self._split.name(example), reason)

    def _load_example(self, example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Number, bytes to store, and shape of an image."""
        encoded, _ = self._split.read(example)
        image = decode_image(encoded)
        shape = tf.shape(image)
        if self._size is None:
            return example, encoded, shape
        size = tf.constant(self._size)
        shorter = tf.reduce_min(shape[:2])

        def shrink() -> tuple[tf.Tensor, tf.Tensor]:
            sides = tf.maximum(size, (shape[:2] * size + shorter // 2) // shorter)
            small = tf.image.resize(image, sides, "area")
            pixels = tf.saturate_cast(tf.round(small), tf.uint8)
            return tf.io.encode_jpeg(pixels, quality=_JPEG_QUALITY), tf.shape(pixels)

        return (example, *tf.cond(shorter > size, shrink, lambda: (encoded, shape)))

    def _make_record(self, stored: StoredImage) -> bytes:
        name = self._images.names[stored.example]
        label = self._images.labels[stored.example]
        features = {
            "image/encoded": _bytes_feature(stored.encoded),
            "image/format": _bytes_feature(_format(stored.encoded)),
            "image/filename": _bytes_feature(os.fsencode(os.path.basename(name))),
            "image/height": _int_feature(stored.height),
            "image/width": _int_feature(stored.width),
            "image/class/label": _int_feature(label + 1),
            "image/class/synset": _bytes_feature(os.fsencode(self._classes[label])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        record: bytes = example.SerializeToString(deterministic=True)
        return record


def _format(encoded: bytes) -> bytes:
    """The format by the first bytes: what is called .jpg may be any that can be decoded."""
    return next((name for first, name in _FORMATS.items() if encoded.startswith(first)), b"JPEG")


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
