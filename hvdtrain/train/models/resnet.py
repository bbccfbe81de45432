"""ResNet-50 as the paper trains it, and a small residual network for small images.

The topology is that of He et al. (2015), without convolution biases. The last batch normalisation
of each residual block starts with gamma 0, so that every block starts as the identity.

Source: section IV; gamma 0: Goyal et al. (2017), section 5.1.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdtrain.train.models.network import Layers

# Blocks and width of the inner convolutions, stage by stage; a block gives four times the width.
RESNET50_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
RESNET50_EXPANSION = 4
# The form of He et al. (2015) for small images, with one block in each stage: seven 3x3 layers.
SMALL_STAGES = ((1, 16), (1, 32), (1, 64))


def resnet50(layers: Layers, images: Any) -> Any:
    """Fifty layers with weights: 1 + 3 x (3 + 4 + 6 + 3) convolutions and the classifier."""
    x = layers.convolution(images, 64, kernel=7, stride=2, name="stem")
    x = layers.relu(layers.normalise(x, name="stem"), name="stem")
    x = layers.pad(x, 1, name="stem_pool")
    x = tf.keras.layers.MaxPool2D(3, 2, dtype=layers.policy, name="stem_pool")(x)
    for stage, (blocks, width) in enumerate(RESNET50_STAGES, start=2):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 2 else 1
            x = _bottleneck(layers, x, width, stride, name=f"stage{stage}_block{block + 1}")
    return x


def small(layers: Layers, images: Any) -> Any:
    """Three stages of one block of two 3x3 convolutions each, for images of 8 to 64 pixels."""
    x = layers.convolution(images, SMALL_STAGES[0][1], kernel=3, name="stem")
    x = layers.relu(layers.normalise(x, name="stem"), name="stem")
    for stage, (blocks, width) in enumerate(SMALL_STAGES, start=2):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 2 else 1
            x = _basic(layers, x, width, stride, name=f"stage{stage}_block{block + 1}")
    return x


def _bottleneck(layers: Layers, x: Any, width: int, stride: int, name: str) -> Any:
    """1x1, 3x3 and 1x1 convolutions around a shortcut; `v1` strides in the first."""
    first, second = (stride, 1) if layers.spec.version == "v1" else (1, stride)
    wide = width * RESNET50_EXPANSION
    shortcut = _shortcut(layers, x, wide, stride, name)
    y = layers.convolution(x, width, kernel=1, stride=first, name=f"{name}_1")
    y = layers.relu(layers.normalise(y, name=f"{name}_1"), name=f"{name}_1")
    y = layers.convolution(y, width, kernel=3, stride=second, name=f"{name}_2")
    y = layers.relu(layers.normalise(y, name=f"{name}_2"), name=f"{name}_2")
    y = layers.convolution(y, wide, kernel=1, name=f"{name}_3")
    y = layers.normalise(y, name=f"{name}_3", gamma="zeros")
    return _join(layers, shortcut, y, name)


def _basic(layers: Layers, x: Any, width: int, stride: int, name: str) -> Any:
    """Two 3x3 convolutions around a shortcut."""
    shortcut = _shortcut(layers, x, width, stride, name)
    y = layers.convolution(x, width, kernel=3, stride=stride, name=f"{name}_1")
    y = layers.relu(layers.normalise(y, name=f"{name}_1"), name=f"{name}_1")
    y = layers.convolution(y, width, kernel=3, name=f"{name}_2")
    y = layers.normalise(y, name=f"{name}_2", gamma="zeros")
    return _join(layers, shortcut, y, name)


def _shortcut(layers: Layers, x: Any, width: int, stride: int, name: str) -> Any:
    """The input itself, or its projection where a block changes its shape."""
    if stride == 1 and x.shape[-1] == width:
        return x
    projected = layers.convolution(x, width, kernel=1, stride=stride, name=f"{name}_shortcut")
    return layers.normalise(projected, name=f"{name}_shortcut")


def _join(layers: Layers, shortcut: Any, y: Any, name: str) -> Any:
    joined = tf.keras.layers.Add(dtype=layers.policy, name=f"{name}_add")([shortcut, y])
    return layers.relu(joined, name=name)
