"""The trained weights as a file of Keras' format.

Keras and HDF5 work on bytes in memory. HDF5 itself would lock the file that it opens, and many
shared file systems take no locks; and on a disk that is full it ends the whole process.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import tensorflow as tf
from keras.src.saving import saving_lib

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import replace_file
from hvdtrain.runs.folder import START_AGAIN
from hvdtrain.runs.names import WEIGHTS_FILE
from hvdtrain.train.checkpoint.digest import weights_sha256


def save_weights(model: tf.keras.Model, folder: Path) -> Path:
    """Write the weights and moving statistics in Keras' format; whole or not at all.

    Returns:
        The file: `final.weights.h5` in `folder`, readable by `tf.keras.Model.load_weights`.

    Raises:
        RunError: It cannot be written.
    """
    # The core driver keeps all in memory, and calls no Python, which other threads may hold up.
    with h5py.File(WEIGHTS_FILE, "w", driver="core", backing_store=False) as file:
        store = saving_lib.H5IOStore(file.id, mode="w")
        saving_lib._save_state(model, store, None, inner_path="", visited_trackables=set())
        file.flush()
        content = file.id.get_file_image()
    path = folder / WEIGHTS_FILE
    replace_file(path, content, START_AGAIN)
    return path


def load_weights(model: tf.keras.Model, folder: Path, sha256: str | None) -> None:
    """Give a model the weights and moving statistics that a run has left.

    Args:
        model: Built from the run's plan; its weights are replaced.
        folder: The run's folder.
        sha256: Of the weights, as its record says.

    Raises:
        RunError: The file is missing or damaged, or holds other weights.
    """
    path = folder / WEIGHTS_FILE
    try:
        with h5py.File(h5py.h5f.open_file_image(path.read_bytes())) as file:
            store = saving_lib.H5IOStore(file.id, mode="r")
            saving_lib._load_state(model, store, None, inner_path="", visited_trackables=set())
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} cannot be read: {error}", "train this model again") from None
    if weights_sha256(model.variables) != sha256:
        raise RunError(f"{path} does not hold the weights of its record", "train this model again")
