"""The check that no rank holds NaN or infinity, before a state is kept or judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from hvdtrain.train.health.divergence import DivergedError, RankFault
from hvdtrain.train.optim.slots import plain_name
from hvdtrain.train.process.world import World, allgather, is_true_anywhere


def gather_faults(where: str | None, world: World) -> list[RankFault]:
    """The faults of all ranks, ascending, on every rank. Collective.

    Args:
        where: What of this rank is not finite; None: all is.
        world: All ranks.
    """
    return [
        RankFault(rank, world.hosts[rank], each)
        for rank, each in enumerate(allgather(where))
        if each is not None
    ]


def require_finite(variables: Iterable[tf.Variable], what: str, world: World) -> None:
    """Raise on every rank where any rank holds NaN or infinity. Collective.

    Args:
        variables: On every rank the same ones, in the same order.
        what: They are together, and after which step.
        world: All ranks.

    Raises:
        DivergedError: Names the ranks, their nodes, and the first such variable.
    """
    bad = (plain_name(each) for each in variables if not np.isfinite(each.numpy()).all())
    where = next(bad, None)
    if is_true_anywhere(where is not None):
        raise DivergedError(f"{what} is not finite", faults=gather_faults(where, world))
