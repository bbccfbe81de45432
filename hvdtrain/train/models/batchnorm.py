"""The moving statistics of batch normalisation, which differ from rank to rank."""

from __future__ import annotations

import tensorflow as tf

from hvdtrain.train.reduction.mean import average_over_ranks


def average_batchnorm(model: tf.keras.Model, ranks: int) -> None:
    """Average moving means and variances over the ranks. Collective.

    Each rank normalises by its own batch and keeps its own moving statistics. Call this before an
    evaluation and before saving, or every rank evaluates another network.
    """
    average_over_ranks(moving_statistics(model), ranks)


def moving_statistics(model: tf.keras.Model) -> list[tf.Variable]:
    """Moving mean and variance of each normalisation, in the order of the layers."""
    return [
        statistic
        for layer in model.layers
        if isinstance(layer, tf.keras.layers.BatchNormalization)
        for statistic in (layer.moving_mean, layer.moving_variance)
    ]
