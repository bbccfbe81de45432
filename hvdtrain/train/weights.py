"""The trained weights as a file."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

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
