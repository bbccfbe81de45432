"""ResNet-50 as the paper trains it, and a small residual network for small images.

The topology is that of He et al. (2015), without convolution biases. The last batch normalisation
of each residual block starts with gamma 0, so that every block starts as the identity. Kernels
start from a normal distribution by fan-out, the classifier from one of deviation 0.01.

Source: section IV; gamma 0 and the classifier's deviation: Goyal et al. (2017), section 5.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hvdtrain.plan.method.model import ModelSpec

# "BN moving-average fraction 0.95 for all BN layers". Source: section IV.
BATCHNORM_MOMENTUM = 0.95
BATCHNORM_EPSILON = 1e-5
CLASSIFIER_DEVIATION = 0.01

# Blocks and width of the inner convolutions, stage by stage; a block gives four times the width.
RESNET50_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
RESNET50_EXPANSION = 4
KERNELS = 54  # of ResNet-50, the larger of the two: 53 convolutions and the classifier
# The form of He et al. (2015) for small images, with one block in each stage: seven 3x3 layers.
SMALL_STAGES = ((1, 16), (1, 32), (1, 64))


def make_model(spec: ModelSpec, seed: int = 0) -> tf.keras.Model:
    """Build the network with its starting weights.

    Args:
        spec: Network, image size, classes and precision.
        seed: 0 or more. The starting weights are a function of this and of nothing else.

    Returns:
        A model from float32 [batch, image_size, image_size, 3] to float32 logits
        [batch, classes].
    """
    images = tf.keras.Input((spec.image_size, spec.image_size, 3), name="images")
    network = _Network(spec, seed)
    features = network.resnet50(images) if spec.name == "resnet50" else network.small(images)
    return tf.keras.Model(images, network.classify(features), name=spec.name)


class _Network:
    """Adds layers to a graph of Keras tensors, in the order of the computation.

    Every layer gets its own precision policy and its own seed: neither Keras' global policy nor
    its global generator has a say.
    """

    def __init__(self, spec: ModelSpec, seed: int) -> None:
        self._spec = spec
        self._policy = "mixed_bfloat16" if spec.precision == "bf16" else "float32"
        # One for each kernel, of 31 bits: TensorFlow reads them as int32.
        states = np.random.SeedSequence(seed).generate_state(KERNELS)
        self._seeds = iter((states >> 1).tolist())

    def resnet50(self, images: Any) -> Any:
        """Fifty layers with weights: 1 + 3 x (3 + 4 + 6 + 3) convolutions and the classifier."""
        x = self._convolution(images, 64, kernel=7, stride=2, name="stem")
        x = self._relu(self._normalise(x, name="stem"), name="stem")
        x = self._pad(x, 1, name="stem_pool")
        x = tf.keras.layers.MaxPool2D(3, 2, dtype=self._policy, name="stem_pool")(x)
        for stage, (blocks, width) in enumerate(RESNET50_STAGES, start=2):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 2 else 1
                x = self._bottleneck(x, width, stride, name=f"stage{stage}_block{block + 1}")
        return x

    def small(self, images: Any) -> Any:
        """Three stages of one block of two 3x3 convolutions each, for images of 8 to 64 pixels."""
        x = self._convolution(images, SMALL_STAGES[0][1], kernel=3, name="stem")
        x = self._relu(self._normalise(x, name="stem"), name="stem")
        for stage, (blocks, width) in enumerate(SMALL_STAGES, start=2):
            for block in range(blocks):
                stride = 2 if block == 0 and stage > 2 else 1
                x = self._basic(x, width, stride, name=f"stage{stage}_block{block + 1}")
        return x

    def classify(self, features: Any) -> Any:
        """Global mean and one fully connected layer, in float32 whatever the precision."""
        layers = tf.keras.layers
        x = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features)
        start = tf.keras.initializers.RandomNormal(
            stddev=CLASSIFIER_DEVIATION, seed=next(self._seeds)
        )
        return layers.Dense(
            self._spec.classes, kernel_initializer=start, dtype="float32", name="logits"
        )(x)

    def _bottleneck(self, x: Any, width: int, stride: int, name: str) -> Any:
        """1x1, 3x3 and 1x1 convolutions around a shortcut; `v1` strides in the first."""
        first, second = (stride, 1) if self._spec.version == "v1" else (1, stride)
        wide = width * RESNET50_EXPANSION
        shortcut = self._shortcut(x, wide, stride, name)
        y = self._convolution(x, width, kernel=1, stride=first, name=f"{name}_1")
        y = self._relu(self._normalise(y, name=f"{name}_1"), name=f"{name}_1")
        y = self._convolution(y, width, kernel=3, stride=second, name=f"{name}_2")
        y = self._relu(self._normalise(y, name=f"{name}_2"), name=f"{name}_2")
        y = self._convolution(y, wide, kernel=1, name=f"{name}_3")
        y = self._normalise(y, name=f"{name}_3", gamma="zeros")
        return self._join(shortcut, y, name)

    def _basic(self, x: Any, width: int, stride: int, name: str) -> Any:
        """Two 3x3 convolutions around a shortcut."""
        shortcut = self._shortcut(x, width, stride, name)
        y = self._convolution(x, width, kernel=3, stride=stride, name=f"{name}_1")
        y = self._relu(self._normalise(y, name=f"{name}_1"), name=f"{name}_1")
        y = self._convolution(y, width, kernel=3, name=f"{name}_2")
        y = self._normalise(y, name=f"{name}_2", gamma="zeros")
        return self._join(shortcut, y, name)

    def _shortcut(self, x: Any, width: int, stride: int, name: str) -> Any:
        """The input itself, or its projection where a block changes its shape."""
        if stride == 1 and x.shape[-1] == width:
            return x
        projected = self._convolution(x, width, kernel=1, stride=stride, name=f"{name}_shortcut")
        return self._normalise(projected, name=f"{name}_shortcut")

    def _join(self, shortcut: Any, y: Any, name: str) -> Any:
        joined = tf.keras.layers.Add(dtype=self._policy, name=f"{name}_add")([shortcut, y])
        return self._relu(joined, name=name)

    def _convolution(self, x: Any, width: int, *, kernel: int, name: str, stride: int = 1) -> Any:
        """A convolution without bias, padded alike on all sides, as the original is.

        TensorFlow's own "same" pads one pixel less above and to the left when it strides.
        """
        if kernel > 1 and stride > 1:
            x = self._pad(x, kernel // 2, name=name)
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
            dtype=self._policy,
            name=f"{name}_conv",
        )(x)

    def _pad(self, x: Any, pixels: int, name: str) -> Any:
        return tf.keras.layers.ZeroPadding2D(pixels, dtype=self._policy, name=f"{name}_pad")(x)

    def _normalise(self, x: Any, *, name: str, gamma: str = "ones") -> Any:
        return tf.keras.layers.BatchNormalization(
            momentum=BATCHNORM_MOMENTUM,
            epsilon=BATCHNORM_EPSILON,
            gamma_initializer=gamma,
            dtype=self._policy,
            name=f"{name}_bn",
        )(x)

    def _relu(self, x: Any, name: str) -> Any:
        return tf.keras.layers.ReLU(dtype=self._policy, name=f"{name}_relu")(x)
