"""A network of the registry as a Keras model: its layers, its seeds, and its classifier.

Kernels start from a normal distribution by fan-out, the classifier from one of deviation 0.01.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import tensorflow as tf

from hvdtrain.plan.method.model import ModelSpec

# "BN moving-average fraction 0.95 for all BN layers". Source: section IV.
BATCHNORM_MOMENTUM = 0.95
BATCHNORM_EPSILON = 1e-5
# Source: Goyal et al. (2017), section 5.1.
CLASSIFIER_DEVIATION = 0.01
# More than any network has. The first seeds are the same however many are made.
MOST_KERNELS = 1024


def make_model(spec: ModelSpec, seed: int = 0) -> tf.keras.Model:
    """Build the network with its starting weights.

    Args:
        spec: Network, image size, classes and precision.
        seed: 0 or more. The starting weights are a function of this and of nothing else.

    Returns:
        A model from float32 [batch, image_size, image_size, 3] to float32 logits
        [batch, classes].
    """
    module, _, builder = spec.network.builder.partition(":")
    build = getattr(importlib.import_module(f"hvdtrain.train.models.{module}"), builder)
    images = tf.keras.Input((spec.image_size, spec.image_size, 3), name="images")
    layers = Layers(spec, seed)
    return tf.keras.Model(images, layers.classify(build(layers, images)), name=spec.name)


class Layers:
    """Adds layers to a graph of Keras tensors, in the order of the computation.

    Every layer gets its own precision policy and its own seed: neither Keras' global policy nor
    its global generator has a say.
    """

    def __init__(self, spec: ModelSpec, seed: int) -> None:
        self.spec = spec
        self.policy = "mixed_bfloat16" if spec.precision == "bf16" else "float32"
        # One for each kernel, of 31 bits: TensorFlow reads them as int32.
        states = np.random.SeedSequence(seed).generate_state(MOST_KERNELS)
        self._seeds = iter((states >> 1).tolist())

    def classify(self, features: Any) -> Any:
        """Global mean and one fully connected layer, in float32 whatever the precision."""
        layers = tf.keras.layers
        x = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features)
        start = tf.keras.initializers.RandomNormal(
            stddev=CLASSIFIER_DEVIATION, seed=next(self._seeds)
        )
        return layers.Dense(
            self.spec.classes, kernel_initializer=start, dtype="float32", name="logits"
        )(x)

    def convolution(self, x: Any, width: int, *, kernel: int, name: str, stride: int = 1) -> Any:
        """A convolution without bias, padded alike on all sides, as the original is.

        TensorFlow's own "same" pads one pixel less above and to the left when it strides.
        """
        if kernel > 1 and stride > 1:
            x = self.pad(x, kernel // 2, name=name)
        start = tf.keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_out", distribution="untruncated_normal", seed=next(self._seeds)
        )
        return tf.keras.layers.Conv2D(
            width,
            kernel,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            use_bias=False,
            kernel_initializer=start,
            dtype=self.policy,
            name=f"{name}_conv",
        )(x)

    def pad(self, x: Any, pixels: int, name: str) -> Any:
        """Zeros on all sides."""
        return tf.keras.layers.ZeroPadding2D(pixels, dtype=self.policy, name=f"{name}_pad")(x)

    def normalise(self, x: Any, *, name: str, gamma: str = "ones") -> Any:
        """Batch normalisation over the rank's own batch; its scale starts as `gamma`."""
        return tf.keras.layers.BatchNormalization(
            momentum=BATCHNORM_MOMENTUM,
            epsilon=BATCHNORM_EPSILON,
            gamma_initializer=gamma,
            dtype=self.policy,
            name=f"{name}_bn",
        )(x)

    def relu(self, x: Any, name: str) -> Any:
        """max(x, 0)."""
        return tf.keras.layers.ReLU(dtype=self.policy, name=f"{name}_relu")(x)
