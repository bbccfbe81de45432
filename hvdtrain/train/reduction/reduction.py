"""Ways of reducing gradients over the ranks: the one place that picks one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.train.reduction.mean import AllreduceMean

Reduction = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]
"""From this rank's gradients to those that all ranks apply, inside a `tf.function`. Collective."""


def make_reduction(plan: RunPlan) -> Reduction:
    """The way in which the gradients of a run are reduced: the mean over all ranks.

    Another one is a spec in `Recipe`, a builder beside `AllreduceMean`, and a case here.
    """
    return AllreduceMean(plan.ranks)
