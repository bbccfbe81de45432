"""What a run reads: where the images are, and the facts a plan needs about them."""

from __future__ import annotations

from typing import Literal

import msgspec

from hvdtrain.files.numbers import PositiveInt

DataKind = Literal["synthetic", "folders", "tfrecords"]

IMAGENET_TRAIN_IMAGES = 1_281_167
IMAGENET_VALIDATION_IMAGES = 50_000
IMAGENET_CLASSES = 1000
"""ImageNet-1K. The paper rounds the training images to 1.28 million. Source: Section IV-A."""


class DataSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the images come from.

    Attributes:
        kind: `synthetic` (random images, no files), `folders` (`train/` and `val/` with one
            folder per class) or `tfrecords` (`train-*-of-*` and `validation-*-of-*` shards).
        path: The folder. Empty for synthetic data, and in a plan made before the data are known.
    """

    kind: DataKind = "synthetic"
    path: str = ""


class DatasetInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a plan must know of the images before it can count steps.

    Attributes:
        train_images: Training images.
        validation_images: Validation images.
        classes: Classes; labels are 0 .. classes - 1.
        fingerprint: Hash of the class names and of the list of files. It does not depend on
            where the folder is. Empty when the files were not seen.
    """

    train_images: PositiveInt
    validation_images: PositiveInt
    classes: PositiveInt
    fingerprint: str = ""
