"""Exact evaluation of one network by all ranks together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hvdtrain.errors import RunError
from hvdtrain.runs.record import EvaluationResult
from hvdtrain.train.reduction.mean import allreduce_sum

TOP = 5


class Evaluator:
    """Counts hits on each rank, sums the counts over the ranks, and divides once.

    Means of means would be wrong: ranks hold different numbers of examples. Summed counts do not
    depend on how the examples are spread over ranks and batches.
    """

    def __init__(self, model: tf.keras.Model, ranks: int) -> None:
        self._model = model
        self._ranks = ranks
        signature = [
            tf.TensorSpec([None, *model.input_shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int64),
        ]
        self._count = tf.function(self._count_batch, input_signature=signature)

    def evaluate(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> EvaluationResult:
        """Evaluate this rank's examples and all others'. Collective, once, at the end.

        Average the moving statistics first (`average_batchnorm`).

        Args:
            batches: This rank's share: images float32 [batch, height, width, 3], normalised, and
                labels int64 [batch], negative where an example is padding. Batches may differ in
                size; a rank may have none.

        Returns:
            The same on every rank.

        Raises:
            RunError: No rank has an example.
        """
        totals = np.zeros(4, np.float64)
        for images, labels in batches:
            totals += self._count(images, labels).numpy()
        return make_result(allreduce_sum(totals, self._ranks))

    def _count_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return count_hits(self._model(images, training=False), labels)


def make_result(totals: NDArray[np.float64]) -> EvaluationResult:
    """The one division.

    Args:
        totals: Of all ranks, as `count_hits` gives them: float64 [4].

    Raises:
        RunError: There was no example.
    """
    count, top1, top5, loss = totals.tolist()
    if count == 0:
        raise RunError("there are no examples to evaluate on", "check the evaluation data")
    mean = loss / count if math.isfinite(loss) else None
    return EvaluationResult(count=int(count), top1=top1 / count, top5=top5 / count, loss=mean)


def count_hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Examples, top-1 hits, top-5 hits and summed loss of a batch.

    Equal logits rank by their class, so a network that says nothing scores chance; a logit that
    is not finite is a miss.

    Args:
        logits: float32 or float64 [batch, classes].
        labels: int64 [batch], 0 to classes - 1, negative where an example is padding.

    Returns:
        float64 [4].
    """
    real = labels >= 0
    logits, labels = logits[real], labels[real]
    own = tf.gather(logits, labels[:, tf.newaxis], batch_dims=1)
    classes = tf.range(tf.shape(logits, tf.int64)[1])
    ahead = (logits > own) | ((logits == own) & (classes < labels[:, tf.newaxis]))
    place = tf.reduce_sum(tf.cast(ahead, tf.int64), axis=1)
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    per_example = [tf.ones_like(losses), finite & (place < 1), finite & (place < TOP), losses]
    return tf.stack([tf.reduce_sum(tf.cast(values, tf.float64)) for values in per_example])
