"""The trained weights as a file."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.train.checkpoint.digest import weights_sha256

WEIGHTS_FILE = "final.weights.h5"


def save_weights(model: tf.keras.Model, folder: Path) -> Path:
    """Write the weights and moving statistics in Keras' format; whole or not at all.

    Returns:
        The file: `final.weights.h5` in `folder`, readable by `tf.keras.Model.load_weights`.
    """
    target = folder / WEIGHTS_FILE
    partial = folder / f"partial-{os.getpid()}.weights.h5"
    model.save_weights(partial)
    partial.replace(target)
    return target


def load_weights(model: tf.keras.Model, folder: Path, sha256: str | None) -> None:
    """Give a model the weights and moving statistics that a run has left.

    Args:
        model: Of the run's plan.
        folder: Of the run.
        sha256: Of the weights, as its record says.

    Raises:
        RunError: The file is missing or damaged, or holds other weights.
    """
    path = folder / WEIGHTS_FILE
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}", "train this model again") from None
    if weights_sha256(model.variables) != sha256:
        raise RunError(f"{path} does not hold the weights of its record", "train this model again")
