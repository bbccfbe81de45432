"""What the ranks do together: mean gradients, one start, summed counts.

Every function here is collective: all ranks call it, in the same order. With one rank each is the
identity and does not touch Horovod.
"""

from __future__ import annotations

from collections.abc import Sequence

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hvdtrain.plan.forecast.gradient_groups import group_bytes


class AllreduceMean:
    """The mean of every gradient over the ranks, in fixed groups.

    The backward pass ends with the first layer, so the last layer's gradients are ready first and
    lead. A group leaves as soon as its last gradient is ready, while the backward pass goes on.
    Groups depend on sizes and ranks alone, so they are the same on every rank and in every run.
    That the sums come out the same in every run as well takes HOROVOD_DISABLE_GROUP_FUSION=1:
    otherwise groups that happen to be ready together are reduced as one, in another order of
    addition.

    Args:
        ranks: How many ranks there are.
        most_bytes: Upper bound of a group; None: as `group_bytes` says.
    """

    def __init__(self, ranks: int, most_bytes: int | None = None) -> None:
        self.ranks = ranks
        self._most_bytes = most_bytes or group_bytes(ranks)

    def __call__(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Reduce, inside a `tf.function`.

        Args:
            gradients: Dense, of static shape, in the order of the layers.

        Returns:
            The means, in the same order.
        """
        if self.ranks == 1:
            return list(gradients)
        sizes = [gradient.shape.num_elements() * gradient.dtype.size for gradient in gradients]
        means: dict[int, tf.Tensor] = {}
        for number, group in enumerate(group_from_the_end(sizes, self._most_bytes)):
            reduced = hvd.grouped_allreduce(
                [gradients[index] for index in group], op=hvd.Average, name=f"gradients_{number}"
            )
            means.update(zip(group, reduced, strict=True))
        return [means[index] for index in range(len(gradients))]


def group_from_the_end(sizes: Sequence[int], most_bytes: int) -> list[list[int]]:
    """Cut the indices of `sizes`, last first, into runs of bounded size.

    Args:
        sizes: Bytes of each tensor.
        most_bytes: Upper bound of a group. A tensor larger than this is a group of its own.

    Returns:
        Groups of indices, descending; together every index once.
    """
    groups: list[list[int]] = []
    filled = 0
    for index in reversed(range(len(sizes))):
        if not groups or filled + sizes[index] > most_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(index)
        filled += sizes[index]
    return groups


def allreduce_mean(value: tf.Tensor, ranks: int, name: str) -> tf.Tensor:
    """The mean of one small tensor over the ranks, inside a `tf.function`.

    Args:
        value: Any shape, the same on every rank.
        ranks: How many ranks there are.
        name: The same on every rank, and used once in a step.
    """
    return hvd.allreduce(value, op=hvd.Average, name=name) if ranks > 1 else value


def broadcast_state(variables: Sequence[tf.Variable], ranks: int) -> None:
    """Give every rank the values of rank 0."""
    if ranks > 1:
        hvd.broadcast_variables(variables, root_rank=0)


def average_over_ranks(variables: Sequence[tf.Variable], ranks: int) -> None:
    """Replace each variable by its mean over the ranks."""
    if ranks == 1 or not variables:
        return
    means = hvd.grouped_allreduce([tf.convert_to_tensor(v) for v in variables], op=hvd.Average)
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)


def allreduce_sum(values: NDArray[np.float64], ranks: int) -> NDArray[np.float64]:
    """Sum an array over the ranks, in float64: exact for counts up to 2^53.

    Args:
        values: Any shape, the same on every rank.
        ranks: How many ranks there are.

    Returns:
        The sums, the same on every rank.
    """
    if ranks == 1:
        return values.copy()
    total: NDArray[np.float64] = hvd.allreduce(tf.constant(values, tf.float64), op=hvd.Sum).numpy()
    return total
