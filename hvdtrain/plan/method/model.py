"""The networks that a run may train: what is known of each, and which one a run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from hvdtrain.errors import InputError

CLASSES = (2, 100_000)
"""Fewest and most classes of any network."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a network without building it.

    Attributes:
        title: Its name for people.
        versions: The versions that there are; empty: only one, and `version` is ignored.
        image_sizes: Smallest and largest height and width of its images, pixels. Below, there is
            nothing left to pool at its end.
        image_size: Height and width unless the user says otherwise, pixels.
        classes: Classes unless the user or the data say otherwise.
        parameters: Trained weights with that many classes.
        builder: `module:function` in `hvdtrain.train.models`. The function takes the layers of a
            network and its images, and returns the features that are classified.
    """

    title: str
    versions: tuple[str, ...] = ()
    image_sizes: tuple[int, int]
    image_size: int
    classes: int
    parameters: int
    builder: str


MODELS = {
    "resnet50": Network(
        title="ResNet-50",
        versions=("v1", "v1.5"),
        image_sizes=(32, 1024),
        image_size=224,
        classes=1000,
        # Source: Section V-A1, "around 98MB" of gradients in single precision, which is 97.5 MiB.
        parameters=25_557_032,
        builder="resnet:resnet50",
    ),
    "small": Network(
        title="A small residual network",
        image_sizes=(8, 64),
        image_size=32,
        classes=10,
        parameters=78_042,
        builder="resnet:small",
    ),
}
"""Every network by the name that options, files and tables call it."""

# The names of the registry as a type, so that decoding and the command line know them.
if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[tuple(MODELS)]
ModelVersion = Literal["v1", "v1.5"]
Precision = Literal["fp32", "bf16"]


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A network and the shape of what goes in and comes out.

    Attributes:
        name: A key of `MODELS`.
        version: Where a stage of ResNet-50 halves the image: `v1` in the first 1x1 convolution of
            its first block, as the paper trains it; `v1.5` in the 3x3 convolution.
        image_size: Height and width of the input, pixels, within the network's `image_sizes`.
        classes: 2 to 100,000.
        precision: Of activations and of the arithmetic. Weights and logits are float32 always.

    Raises:
        InputError: A value outside its range.
    """

    name: ModelName = "resnet50"
    version: ModelVersion = "v1"
    image_size: int = 224
    classes: int = 1000
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        _check_choice("model", self.name, tuple(MODELS))
        _check_choice("version", self.version, ("v1", "v1.5"))
        _check_choice("precision", self.precision, ("fp32", "bf16"))
        _check_range("image_size", self.image_size, MODELS[self.name].image_sizes)
        _check_range("classes", self.classes, CLASSES)

    @property
    def network(self) -> Network:
        """What is known of it."""
        return MODELS[self.name]

    @property
    def label(self) -> str:
        """`resnet50-v1/224/1000/fp32`: network, image size, classes, precision."""
        name = f"{self.name}-{self.version}" if self.network.versions else self.name
        return f"{name}/{self.image_size}/{self.classes}/{self.precision}"


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(field, value, "one of " + ", ".join(choices), f"use {choices[0]}")


def _check_range(field: str, value: int, limits: tuple[int, int]) -> None:
    low, high = limits
    if not low <= value <= high:
        nearest = min(max(value, low), high)
        raise InputError(field, value, f"{low} to {high}", f"the nearest legal value is {nearest}")
