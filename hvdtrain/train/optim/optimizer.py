"""What turns gradients into steps: one class for each optimizer that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from hvdtrain.plan.method.optimizer import LambSpec, LarsSpec, OptimizerSpec, SgdSpec
from hvdtrain.train.optim.lamb import Lamb
from hvdtrain.train.optim.lars import Lars
from hvdtrain.train.optim.sgd import MomentumSGD

__all__ = ["OPTIMIZERS", "MomentumSGD", "Optimizer", "make_optimizer"]


class Optimizer(Protocol):
    """Changes variables by their gradients. The rate and the decay come with every step.

    Attributes:
        slots: Its whole state beside the weights. Broadcast them with the weights and keep them
            in checkpoints: a run continues from both.
    """

    slots: list[tf.Variable]

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
            weight_decay: Scalar lambda, 0 or more.
        """


Builder = Callable[[Sequence[tf.Variable], Any], Optimizer]

OPTIMIZERS: Mapping[type[OptimizerSpec], Builder] = {
    SgdSpec: MomentumSGD,
    LarsSpec: Lars,
    LambSpec: Lamb,
}
"""What builds the optimizer of each spec, from the variables that it changes and the spec."""


def make_optimizer(spec: OptimizerSpec, variables: Sequence[tf.Variable]) -> Optimizer:
    """The optimizer of a recipe.

    Args:
        spec: Which one, and its constants.
        variables: What it changes.
    """
    return OPTIMIZERS[type(spec)](variables, spec)
