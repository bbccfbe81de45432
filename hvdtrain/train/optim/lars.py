"""LARS: every layer's step is a share of the length of its weights."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdtrain.plan.method.optimizer import LarsSpec, is_regularised
from hvdtrain.train.optim.slots import make_slots


class Lars:
    """Layer-wise adaptive rate scaling. Source: You et al. (2017), arXiv 1708.03888, algorithm 1.

    For a variable w with gradient g, decay lambda, momentum m and learning rate lr:

        r <- eta |w| / (|g| + lambda |w| + epsilon), or 1 where |w| or |g| is 0
        v <- m v + lr r (g + lambda w)
        w <- w - v

    Scales and offsets of normalisation and biases, all of rank 1 or less, have r = 1 and no decay.
    The learning rate is inside the buffer, as the authors have it, so there is no momentum
    correction when it changes.

    Attributes:
        slots: One buffer v per variable, in the order of the variables.
    """

    def __init__(self, variables: Sequence[tf.Variable], spec: LarsSpec) -> None:
        self._variables = list(variables)
        self._spec = spec
        self.slots = make_slots(self._variables, "momentum")

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        weight_decay: tf.Tensor,
    ) -> None:
        """Take one step. See `Optimizer`."""
        for variable, slot, gradient in zip(self._variables, self.slots, gradients, strict=True):
            rate = tf.cast(learning_rate, slot.dtype)
            if is_regularised(variable.shape.rank):
                weights = tf.convert_to_tensor(variable)
                decay = tf.cast(weight_decay, slot.dtype)
                rate *= self._ratio(weights, gradient, decay)
                gradient += decay * weights
            slot.assign(self._spec.momentum * slot + rate * gradient)
            variable.assign_sub(slot)

    def _ratio(self, weights: tf.Tensor, gradient: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
        length, slope = tf.norm(weights), tf.norm(gradient)
        ratio = self._spec.trust * length / (slope + decay * length + self._spec.epsilon)
        return tf.where((length > 0) & (slope > 0), ratio, tf.ones_like(ratio))
