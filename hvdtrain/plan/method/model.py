"""Which network a run trains: what is chosen, and what may be chosen."""

from __future__ import annotations

from typing import Literal

import msgspec

from hvdtrain.errors import InputError

# The smallest image that each network still has something to pool at its end.
IMAGE_SIZES = {"resnet50": (32, 1024), "small": (8, 64)}
CLASSES = (2, 100_000)


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A network and the shape of what goes in and comes out.

    Attributes:
        name: `resnet50`, or `small`, a residual network for small images.
        version: Where a stage of ResNet-50 halves the image: `v1` in the first 1x1 convolution of
            its first block, as the paper trains it; `v1.5` in the 3x3 convolution. The small
            network has no 1x1 convolution there and ignores it.
        image_size: Height and width of the input, pixels: 32 to 1024 for `resnet50`, 8 to 64 for
            `small`.
        classes: 2 to 100,000.
        precision: Of activations and of the arithmetic. Weights and logits are float32 always.

    Raises:
        InputError: A value outside its range.
    """

    name: Literal["resnet50", "small"] = "resnet50"
    version: Literal["v1", "v1.5"] = "v1"
    image_size: int = 224
    classes: int = 1000
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        _check_choice("model", self.name, tuple(IMAGE_SIZES))
        _check_choice("version", self.version, ("v1", "v1.5"))
        _check_choice("precision", self.precision, ("fp32", "bf16"))
        _check_range("image_size", self.image_size, IMAGE_SIZES[self.name])
        _check_range("classes", self.classes, CLASSES)


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(field, value, "one of " + ", ".join(choices), f"use {choices[0]}")


def _check_range(field: str, value: int, limits: tuple[int, int]) -> None:
    low, high = limits
    if not low <= value <= high:
        nearest = min(max(value, low), high)
        raise InputError(field, value, f"{low} to {high}", f"the nearest legal value is {nearest}")
