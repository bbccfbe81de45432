"""Stochastic gradient descent with momentum and coupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdtrain.plan.method.optimizer import SgdSpec, is_regularised
from hvdtrain.train.optim.slots import make_slots

PLAIN = SgdSpec()


class MomentumSGD:
    """Momentum with L2 regularisation inside the gradient; the rate and the decay come per step.

    For a variable w with gradient g, decay lambda, momentum m and learning rate lr:

        u <- m u + (g + lambda w)
        w <- w - lr u

    With Nesterov's look-ahead the second line is w <- w - lr (g + lambda w + m u).

    Scales and offsets of normalisation and biases, all of rank 1 or less, are not decayed.

    The learning rate stays outside the buffer u. Goyal et al. (2017), section 3, have two forms:
    theirs with the rate inside, v <- m v + lr g and w <- w - v, needs the correction factor
    lr_t / lr_(t-1) on m whenever the rate changes. With v = lr u that is

        v_t = lr_t u_t = lr_t (m u_(t-1) + g_t) = m (lr_t / lr_(t-1)) v_(t-1) + lr_t g_t,

    so the form here is the corrected one, also where the rate was 0 and the factor would not exist.

    Attributes:
        slots: One buffer u per variable, in the order of the variables. Broadcast them with the
            weights and keep them in checkpoints: a run continues from both.
    """

    def __init__(self, variables: Sequence[tf.Variable], spec: SgdSpec = PLAIN) -> None:
        self._variables = list(variables)
        self._spec = spec
        self.slots = make_slots(self._variables, "momentum")

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        weight_decay: tf.Tensor,
    ) -> None:
        """Take one step.

        Args:
            gradients: Of the loss without decay, the mean over all ranks, one per variable and in
                their order.
            learning_rate: Scalar, 0 or more.
            weight_decay: Scalar lambda, 0 or more; the gradient added is lambda w, not 2 lambda w.
        """
        for variable, slot, gradient in zip(self._variables, self.slots, gradients, strict=True):
            if is_regularised(variable.shape.rank):
                gradient += tf.cast(weight_decay, slot.dtype) * tf.convert_to_tensor(variable)
            # One pass over memory for both updates: accum = accum m + g; var = var - lr accum.
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=slot.handle,
                lr=tf.cast(learning_rate, slot.dtype),
                grad=gradient,
                momentum=tf.constant(self._spec.momentum, slot.dtype),
                use_nesterov=self._spec.nesterov,
            )
