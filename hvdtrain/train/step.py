"""One training step: forward, loss, backward, reduction, update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdtrain.train.optimizer import MomentumSGD
from hvdtrain.train.reduce import mean_over_ranks

Reduce = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


class StepResult(NamedTuple):
    """What a step tells, as scalar tensors.

    Attributes:
        loss: Mean cross-entropy of the global batch before the update, float32. The same on every
            rank: when one rank's loss is no number, all ranks see it in the same step.
        rank_loss: The same of this rank's batch alone.
        exposed_seconds: From this rank's last gradient being ready to the last mean being ready:
            the part of the reduction that the backward pass did not hide, waiting for slower
            ranks included. 0 with one rank. float64.
    """

    loss: tf.Tensor
    rank_loss: tf.Tensor
    exposed_seconds: tf.Tensor


TrainStep = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], StepResult]


def make_train_step(
    model: tf.keras.Model,
    optimizer: MomentumSGD,
    reduce: Reduce,
    *,
    rank_batch: int,
    ranks: int,
) -> TrainStep:
    """Compile the step of one rank.

    Args:
        model: From `make_model`.
        optimizer: Over `model.trainable_variables`.
        reduce: The mean of the gradients over the ranks, such as `GradientMean`.
        rank_batch: Images per rank and step, 1 or more.
        ranks: How many ranks step together.

    Returns:
        step(images, labels, learning_rate, weight_decay): images float32
        [rank_batch, height, width, 3], normalised; labels int64 [rank_batch], 0 to classes - 1;
        both rates float32 scalars, Python floats allowed. Changes weights, slots and moving
        statistics.
    """
    variables = model.trainable_variables

    def step(
        images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, weight_decay: tf.Tensor
    ) -> StepResult:
        with tf.GradientTape() as tape:
            rank_loss = mean_loss(model(images, training=True), labels)
        loss = mean_over_ranks(rank_loss, ranks, name="loss")
        gradients = tape.gradient(rank_loss, variables)
        means = reduce(gradients)
        exposed = _seconds_between(gradients, means) if ranks > 1 else tf.constant(0.0, tf.float64)
        optimizer.apply(means, learning_rate, weight_decay)
        return StepResult(loss, rank_loss, exposed)

    height, width, channels = model.input_shape[1:]
    signature = [
        tf.TensorSpec([rank_batch, height, width, channels], tf.float32),
        tf.TensorSpec([rank_batch], tf.int64),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.float32),
    ]
    compiled: TrainStep = tf.function(step, input_signature=signature)
    return compiled


def mean_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy, float32.

    Args:
        logits: float32 [batch, classes].
        labels: int64 [batch], 0 to classes - 1.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses)


def _seconds_between(before: Sequence[tf.Tensor], after: Sequence[tf.Tensor]) -> tf.Tensor:
    """Seconds from the last of `before` being ready to the last of `after` being ready.

    The clocks wait for the tensors and nothing waits for the clocks, so the step is not ordered
    by being timed.
    """
    with tf.control_dependencies(before):
        start = tf.timestamp()
    with tf.control_dependencies([*after, start]):
        stop = tf.timestamp()
    return stop - start
