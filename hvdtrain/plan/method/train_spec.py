"""What a training is: every option of it, with its range, its default and its help, stated once.

From these fields follow the options of the command line, the fields of job files and sweeps, and
the words with which a script starts the ranks.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from hvdtrain.files.numbers import Epochs, Images, Minutes, Pixels, Seed, WrittenPositiveInt
from hvdtrain.files.paths import expand_path
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.model import (
    CLASSES,
    MODELS,
    ModelName,
    ModelSpec,
    ModelVersion,
    Precision,
)
from hvdtrain.plan.method.recipe import LARGE_BATCH

NETWORK = Meta(description="The network.")
_SIZES = ", ".join(f"{network.image_size} for {name}" for name, network in MODELS.items())


class RunOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a run looks after itself, whatever it does."""

    checkpoint_minutes: Annotated[
        Minutes, Meta(description="Write a checkpoint at least this often.")
    ] = 15.0
    checkpoint_epochs: Annotated[
        WrittenPositiveInt | None,
        Meta(description="Write one after every so many epochs, too. Default: only by time."),
    ] = None
    hang_minutes: Annotated[
        Annotated[float, Meta(ge=0.2, le=1440)],
        Meta(
            description="End all ranks when one comes no further for so long; it is named, and the "
            "run can go on."
        ),
    ] = 5.0
    attest: Annotated[
        bool,
        Meta(description="Whether a thread that is not where the core map has it ends the run."),
    ] = True
    tensorboard: Annotated[
        bool, Meta(description="Whether to write TensorBoard's event files as well.")
    ] = False


class TrainSpec(RunOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training, wherever it runs. What is None follows from the model, the batch or the data."""

    accumulate: Annotated[
        WrittenPositiveInt, Meta(description="Batches whose gradients are added up for one update.")
    ] = 1
    recipe: Annotated[
        str | None,
        Meta(
            description="A name or a TOML file. Default: linear-90, or large-batch-100 from a "
            f"global batch of {LARGE_BATCH} on."
        ),
    ] = None
    epochs: Annotated[
        Epochs | None, Meta(description="Stretch the recipe to this many epochs.")
    ] = None
    steps: Annotated[
        WrittenPositiveInt | None, Meta(description="End the run after this many updates.")
    ] = None
    evaluate_epochs: Annotated[
        WrittenPositiveInt | None,
        Meta(
            description="Evaluate after every so many epochs, at snapshots and at the end. "
            "Default: as often as costs at most 5 % of the time."
        ),
    ] = None
    model: Annotated[ModelName, NETWORK] = "resnet50"
    model_version: Annotated[
        ModelVersion,
        Meta(
            description="Where a stage of ResNet-50 halves the image: in the first convolution of "
            "a block, as in the paper, or in the 3x3 one."
        ),
    ] = "v1"
    image_size: Annotated[
        Pixels | None, Meta(description=f"Height and width in pixels. Default: {_SIZES}.")
    ] = None
    classes: Annotated[
        Annotated[int, Meta(ge=CLASSES[0], le=CLASSES[1])] | None,
        Meta(description="Classes. Default: as many as the data has."),
    ] = None
    precision: Annotated[
        Precision, Meta(description="Of activations and arithmetic; weights are fp32.")
    ] = "fp32"
    data: Annotated[
        str | None,
        Meta(
            description="Folder of images (train/ and val/) or of TFRecord shards. Default: "
            "synthetic images."
        ),
    ] = None
    images_per_epoch: Annotated[Images, Meta(description="Images of a synthetic epoch.")] = (
        IMAGENET_TRAIN_IMAGES
    )
    seed: Annotated[Seed, Meta(description="Of weights, data order and augmentation.")] = 0
    allow_change: Annotated[
        bool,
        Meta(
            description="Whether a run goes on though the recipe, the data, the batch or the "
            "number of ranks changed."
        ),
    ] = False

    def model_for(self, classes: int) -> ModelSpec:
        """The model, for data of so many classes.

        Raises:
            InputError: The network does not take images of this size.
        """
        return ModelSpec(
            name=self.model,
            version=self.model_version,
            image_size=self.image_size or MODELS[self.model].image_size,
            classes=self.classes or classes,
            precision=self.precision,
        )

    @property
    def unseen_classes(self) -> int:
        """Classes of data that nobody has looked at: what was asked for, or the model's own."""
        return self.classes or MODELS[self.model].classes


def model_fields(model: ModelSpec) -> dict[str, Any]:
    """The fields of a `TrainSpec` that choose this model."""
    return {
        "model": model.name,
        "model_version": model.version,
        "image_size": model.image_size,
        "classes": model.classes,
        "precision": model.precision,
    }


Spec = TypeVar("Spec", bound=TrainSpec)


def expand_paths(spec: Spec) -> Spec:
    """The same training or job with every path of it as `expand_path` reads it.

    Raises:
        InputError: A variable is left in one.
    """
    paths = {
        name: expand_path(f"--{name}", path)
        for name in ("data", "results", "recipe", "template")
        if isinstance(path := getattr(spec, name, None), str)
    }
    return msgspec.structs.replace(spec, **paths)
