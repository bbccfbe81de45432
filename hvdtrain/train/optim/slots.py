"""The state that an optimizer keeps beside the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def make_slots(variables: Sequence[tf.Variable], name: str) -> list[tf.Variable]:
    """A variable of zeros for each of `variables`, of its shape and of the type that it stores."""
    return [
        tf.Variable(
            tf.zeros(variable.shape, stored_dtype(variable)),
            trainable=False,
            name=f"{plain_name(variable)}/{name}",
        )
        for variable in variables
    ]


def stored_dtype(variable: Any) -> tf.DType:
    """The type that is stored; under bf16 a Keras variable claims the type it is read as."""
    return tf.as_dtype(getattr(variable, "true_dtype", variable.dtype))


def plain_name(variable: tf.Variable) -> str:
    """The name of a variable as people write it: `stem_conv/kernel`."""
    name: str = variable.name.split(":")[0]
    return name
