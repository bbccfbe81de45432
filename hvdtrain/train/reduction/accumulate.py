"""Gradients of several batches as those of one: any global batch, in the memory of a small one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdtrain.train.optim.slots import make_slots


class GradientSums:
    """Sums of the loss and of every gradient, in the types that the variables store.

    Between updates they are 0, so a checkpoint needs none of them.

    Args:
        variables: What the gradients belong to.
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._gradients = make_slots(variables, "gradient_sum")
        self._loss = tf.Variable(0.0, trainable=False, name="loss_sum")

    def add(self, loss: tf.Tensor, gradients: Sequence[tf.Tensor]) -> None:
        """Add those of one batch."""
        self._loss.assign_add(loss)
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.assign_add(gradient)

    def take_mean(
        self, loss: tf.Tensor, gradients: Sequence[tf.Tensor], batches: int
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The means over all batches, the last one given here, and start again at 0.

        Args:
            loss: Mean of the last batch, scalar.
            gradients: Of that loss, in the order of the variables.
            batches: How many there are, the last one included; all of one size.
        """
        mean = (self._loss + loss) / batches
        means = [
            (total + gradient) / batches
            for total, gradient in zip(self._gradients, gradients, strict=True)
        ]
        for total in [self._loss, *self._gradients]:
            total.assign(tf.zeros_like(total))
        return mean, means
