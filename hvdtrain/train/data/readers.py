"""Reads one example by its number: the bytes of its image, and its label.

Both kinds of data are read at random, so any order and any starting point cost the same. For
TFRecords that takes an index of where the records start. An image from a record, its checksum
verified, takes about a tenth longer to read and decode than one from a file of its own. Unlike a
shuffle buffer this gives a true permutation. The data are meant to be in the memory of the node.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from hvdtrain.train.data.folders import FolderSplit, ImageFolders
from hvdtrain.train.data.tfrecords import RecordIndex, Shards, index_split

_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        images: Number of examples.
        read: From the number of an example (int64) to the bytes of its image and its label,
            0-based int64. Runs inside TensorFlow; raises tf.errors.OpError when it runs.
        name: What a person can find an example by: the path of a file, or shard and record.
    """

    images: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    name: Callable[[int], str]


Listed = FolderSplit | RecordIndex
"""Where the examples of one split are."""


def list_splits(found: ImageFolders | Shards) -> tuple[Listed, Listed]:
    """Where the training and the validation examples are. Reads every shard's frames.

    Args:
        found: The files of the data set, from `find_planned`.

    Raises:
        InputError: A shard is damaged.
    """
    if isinstance(found, ImageFolders):
        return found.train, found.validation
    return index_split(found.folder, found.train), index_split(found.folder, found.validation)


def open_split(listed: Listed, classes: int) -> Split:
    """The examples of a split.

    Args:
        listed: From `list_splits`.
        classes: Labels of records must be 1 to this.
    """
    if isinstance(listed, FolderSplit):
        return open_folder(listed)
    return open_records(listed, classes)


def open_folder(split: FolderSplit) -> Split:
    """The images of a folder."""
    names = tf.constant([os.fsencode(name) for name in split.names])
    labels = tf.constant(split.labels, tf.int64)
    prefix = f"{split.root}/"

    def read(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.io.read_file(os.fsencode(prefix) + names[example]), labels[example]

    return Split(len(split.names), read, lambda example: prefix + split.names[example])


def open_records(index: RecordIndex, classes: int) -> Split:
    """The records of a set of shards. Their checksums are verified."""
    paths = tf.constant(index.paths)
    shards = tf.constant(index.shards)
    offsets = tf.constant(index.offsets)

    def read(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # No buffer: it would read on into the next records, which are not wanted now.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=paths[shards[example]][tf.newaxis],
            compression_type="",
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=offsets[example][tf.newaxis],
        )
        dataset = tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
        features = tf.io.parse_single_example(dataset.take(1).get_single_element(), _FEATURES)
        label = features["image/class/label"] - 1
        message = f"the label is not one of 1 to {classes}"
        inside = tf.debugging.Assert((label >= 0) & (label < classes), [message])
        with tf.control_dependencies([inside] if inside is not None else []):
            return features["image/encoded"], tf.identity(label)

    def name(example: int) -> str:
        shard = int(index.shards[example])
        record = example - int(index.shards.searchsorted(shard))
        return f"{index.paths[shard]} record {record}"

    return Split(len(index.offsets), read, name)
