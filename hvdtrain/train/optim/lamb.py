"""LAMB: Adam, with every layer's step as long as its weights."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdtrain.plan.method.optimizer import LambSpec, is_regularised
from hvdtrain.train.optim.slots import make_slots


class Lamb:
    """Layer-wise adaptive moments. Source: You et al. (2019), arXiv 1904.00962, algorithm 2.

    For a variable w with gradient g, decay lambda and learning rate lr, at the update number t
    counted from 1:

        m <- b1 m + (1 - b1) g
        v <- b2 v + (1 - b2) g^2
        u <- (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + lambda w
        w <- w - lr (|w| / |u|) u, or w - lr u where |w| or |u| is 0

    Scales and offsets of normalisation and biases, all of rank 1 or less, have no decay and no
    ratio. Without bias correction both denominators are 1.

    Attributes:
        slots: One m per variable, one v per variable, and the number of updates so far, int64.
    """

    def __init__(self, variables: Sequence[tf.Variable], spec: LambSpec) -> None:
        self._variables = list(variables)
        self._spec = spec
        self._means = make_slots(self._variables, "mean")
        self._squares = make_slots(self._variables, "square")
        self._updates = tf.Variable(0, trainable=False, dtype=tf.int64, name="updates")
        self.slots = [*self._means, *self._squares, self._updates]

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        weight_decay: tf.Tensor,
    ) -> None:
        """Take one step. See `Optimizer`."""
        if self._spec.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._spec.clip_norm)
        self._updates.assign_add(1)
        for variable, mean, square, gradient in zip(
            self._variables, self._means, self._squares, gradients, strict=True
        ):
            mean.assign(_blend(mean, gradient, self._spec.beta1))
            square.assign(_blend(square, gradient * gradient, self._spec.beta2))
            root = tf.sqrt(self._corrected(square, self._spec.beta2))
            step = self._corrected(mean, self._spec.beta1) / (root + self._spec.epsilon)
            rate = tf.cast(learning_rate, mean.dtype)
            if is_regularised(variable.shape.rank):
                weights = tf.convert_to_tensor(variable)
                step += tf.cast(weight_decay, mean.dtype) * weights
                rate *= _ratio(tf.norm(weights), tf.norm(step))
            variable.assign_sub(rate * step)

    def _corrected(self, moment: tf.Variable, beta: float) -> tf.Tensor:
        """The moment as it would be had it not started at 0."""
        if not self._spec.bias_correction:
            return tf.convert_to_tensor(moment)
        # In float64: 1 - 0.999 has lost half its digits in float32.
        updates = tf.cast(self._updates, tf.float64)
        filled = 1 - tf.pow(tf.constant(beta, tf.float64), updates)
        return moment / tf.cast(filled, moment.dtype)


def _blend(old: tf.Variable, new: tf.Tensor, beta: float) -> tf.Tensor:
    return beta * old + (1 - beta) * new


def _ratio(length: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    whole = (length > 0) & (step > 0)
    return tf.where(whole, tf.math.divide_no_nan(length, step), tf.ones_like(step))
