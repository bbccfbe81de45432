"""One training step: forward, loss, backward, reduction, update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from hvdtrain.train.health.finite_watch import FiniteWatch, nan_unless_finite
from hvdtrain.train.optim.optimizer import Optimizer
from hvdtrain.train.optim.weight_average import WeightAverage
from hvdtrain.train.reduction.accumulate import GradientSums
from hvdtrain.train.reduction.mean import allreduce_mean
from hvdtrain.train.reduction.reduction import Reduction


class StepResult(NamedTuple):
    """Outputs of one step, as scalar tensors.

    Attributes:
        loss: Mean cross-entropy of the global batch before the update, float32, with smoothed
            labels if they are. The same on every rank, so all see in the same step when one rank's
            is NaN or infinite.
        rank_loss: The same of this rank's images alone; NaN where anything is not finite that
            this rank brings into the update: images, weights, slots, moving statistics, gradients.
        exposed_seconds: From this rank's last gradient being ready to the last mean being ready:
            the part of the reduction that the backward pass did not hide, waiting for slower
            ranks included. 0 with one rank. float64.
        gradient_norm: L2 norm of the mean gradients of all variables together, before clipping
            and decay, float32. The same on every rank.
        not_finite: Name of the first thing of this update with NaN or infinity; empty: there is
            none. String.
    """

    loss: tf.Tensor
    rank_loss: tf.Tensor
    exposed_seconds: tf.Tensor
    gradient_norm: tf.Tensor
    not_finite: tf.Tensor


@dataclass(frozen=True)
class TrainStep:
    """The compiled step of one rank.

    Images are float32 [rank_batch, height, width, 3], normalised; labels int64 [rank_batch],
    0 to classes - 1; both rates float32 scalars, Python floats allowed.

    Attributes:
        add: add(images, labels): adds up the gradients of a batch for the next update. Called
            `accumulate` - 1 times before each. Changes moving statistics and no weight.
        update: update(images, labels, learning_rate, weight_decay): the last batch of an update,
            the one reduction, and the change of weights, slots and moving statistics.
    """

    add: Callable[[tf.Tensor, tf.Tensor], None]
    update: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], StepResult]

    def __call__(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
        weight_decay: tf.Tensor,
    ) -> StepResult:
        """The update."""
        return self.update(images, labels, learning_rate, weight_decay)


def make_train_step(
    model: tf.keras.Model,
    optimizer: Optimizer,
    reduce: Reduction,
    *,
    rank_batch: int,
    ranks: int,
    accumulate: int = 1,
    label_smoothing: float = 0.0,
    average: WeightAverage | None = None,
) -> TrainStep:
    """Compile the step of one rank.

    Args:
        model: From `make_model`.
        optimizer: Over `model.trainable_variables`.
        reduce: The mean of the gradients over the ranks, such as `AllreduceMean`.
        rank_batch: Images that a rank computes at once, 1 or more.
        ranks: How many ranks step together.
        accumulate: Batches of a rank that make one update, 1 or more. Batch normalisation sees
            each alone.
        label_smoothing: Share of each label that is spread evenly over all classes.
        average: Takes in the weights after each update.
    """
    variables = model.trainable_variables
    sums = GradientSums(variables) if accumulate > 1 else None
    slots = [*optimizer.slots, *(average.slots if average else [])]
    watch = FiniteWatch(variables, slots, model.non_trainable_variables)

    def differentiate(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = mean_loss(model(images, training=True), labels, label_smoothing)
        return loss, tape.gradient(loss, variables)

    def add(images: tf.Tensor, labels: tf.Tensor) -> None:
        assert sums is not None, "a step of one batch has nothing to add up"
        sums.add(*differentiate(images, labels))

    def update(
        images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, weight_decay: tf.Tensor
    ) -> StepResult:
        inputs = watch.sum_inputs(images)
        rank_loss, gradients = differentiate(images, labels)
        if sums is not None:
            rank_loss, gradients = sums.take_mean(rank_loss, gradients, accumulate)
        results = watch.sum_results(rank_loss, gradients)
        # So the reduction of the loss tells all ranks, and takes no other one.
        rank_loss = nan_unless_finite(rank_loss, inputs, results)
        loss = allreduce_mean(rank_loss, ranks, name="loss")
        means = reduce(gradients)
        exposed = _seconds_between(gradients, means) if ranks > 1 else tf.constant(0.0, tf.float64)
        squares = [2 * tf.nn.l2_loss(mean) for mean in means]
        not_finite = watch.name_first(inputs, results, squares)
        optimizer.apply(means, learning_rate, weight_decay)
        if average is not None:
            average.add()
        return StepResult(loss, rank_loss, exposed, tf.sqrt(tf.add_n(squares)), not_finite)

    return _compile(add, update, [rank_batch, *model.input_shape[1:]])


def mean_loss(logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Mean softmax cross-entropy, float32.

    Args:
        logits: float32 [batch, classes].
        labels: int64 [batch], 0 to classes - 1.
        label_smoothing: s, 0 or more and below 1: the label counts 1 - s, and each class, its own
            included, s / classes more.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if label_smoothing > 0:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)
        losses = (1 - label_smoothing) * losses + label_smoothing * even
    return tf.reduce_mean(losses)


def _compile(
    add: Callable[..., None], update: Callable[..., StepResult], shape: list[int]
) -> TrainStep:
    """Both for images of one shape, [batch, height, width, 3], so that nothing compiles twice."""
    batch = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape[:1], tf.int64)]
    rate = tf.TensorSpec([], tf.float32)
    return TrainStep(
        add=tf.function(add, input_signature=batch),
        update=tf.function(update, input_signature=[*batch, rate, rate]),
    )


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
