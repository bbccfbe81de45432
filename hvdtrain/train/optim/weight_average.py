"""A running mean of the weights, which often predicts better than the weights of the last step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from hvdtrain.train.optim.slots import make_slots


class WeightAverage:
    """The exponential moving average of variables.

    After t updates with decay d, each variable's mean is the sum of d^(t-i) w_i over its values
    w_1 .. w_t, divided by the sum of d^(t-i). So the weights from before the first update, which
    are random, have no part in it, and a mean of few updates is not drawn to them.

    The moving statistics of normalisation belong among the variables: those of the raw weights do
    not fit the averaged ones.

    Args:
        variables: What is averaged.
        decay: d, above 0 and below 1.

    Attributes:
        slots: One mean per variable, and the number of updates so far, int64. Broadcast them with
            the weights and keep them in checkpoints.
    """

    def __init__(self, variables: Sequence[tf.Variable], decay: float) -> None:
        self._variables = list(variables)
        self._decay = decay
        self._means = make_slots(self._variables, "average")
        self._updates = tf.Variable(0, trainable=False, dtype=tf.int64, name="averaged_updates")
        self.slots = [*self._means, self._updates]

    def means_of(self, variables: Sequence[tf.Variable]) -> list[tf.Variable]:
        """The means of these variables."""
        wanted = {id(variable) for variable in variables}
        pairs = zip(self._variables, self._means, strict=True)
        return [mean for variable, mean in pairs if id(variable) in wanted]

    def add(self) -> None:
        """Take in the variables as they are now. Once after each update, in its `tf.function`."""
        decay = tf.constant(self._decay, tf.float64)
        updates = tf.cast(self._updates.assign_add(1), tf.float64)
        share = (1 - decay) / (1 - tf.pow(decay, updates))
        for variable, mean in zip(self._variables, self._means, strict=True):
            change = tf.convert_to_tensor(variable) - mean
            mean.assign_add(tf.cast(share, mean.dtype) * change)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The variables hold their means inside this context, and what they held before after it.

        What changes the variables inside changes the means.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for variable, mean in zip(self._variables, self._means, strict=True):
            kept = variable.numpy()
            variable.assign(mean.numpy())
            mean.assign(kept)
