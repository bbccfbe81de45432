"""One number for a network's state, to see whether two ranks, or two runs, hold the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import tensorflow as tf


def weights_sha256(variables: Sequence[tf.Variable]) -> str:
    """SHA-256 of the bytes of all variables, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
