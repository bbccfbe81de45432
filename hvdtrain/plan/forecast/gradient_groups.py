"""How many bytes of gradients are reduced as one: enough that latency does not rule."""

from __future__ import annotations

import math

from hvdtrain.plan.forecast.fit import OMNI_PATH_BYTES_PER_SECOND
from hvdtrain.plan.forecast.step_time import ring_terms

FEWEST_BYTES = 8 * 2**20
"""ResNet-50's 102 MB leave in 16 groups, of which all but the last 5 MB travel while the backward
pass still computes. Larger ones would leave more for its end."""

MESSAGE_SECONDS = 1.5e-6
"""Latency of an MPI message between two nodes; 1 to 2 microseconds on the fabrics of the systems.

Assumed: the fit to Table V finds none, as it sees no reduction that is ruled by it.
"""


def group_bytes(ranks: int) -> int:
    """Upper bound of a group of gradients, bytes, by the ring of the forecast.

    A group of B bytes takes 2 (N - 1) messages one after the other, and 2 (N - 1) / N times B over
    the link. It is so large that the first takes no longer than the second: N x 1.5 microseconds x
    12.5 GB/s, 18,750 bytes for each rank. Up to 447 ranks the 8 MB for the overlap are more; 1,536
    ranks have groups of 28.8 MB. Other algorithms have fewer messages: the ring is the worst case.

    Args:
        ranks: All that reduce, 1 or more. The groups follow from this alone, so that they are the
            same on every rank and when a run is continued.
    """
    if ranks == 1:
        return FEWEST_BYTES
    messages, passes, _ = ring_terms(ranks, ranks)
    latency = messages * MESSAGE_SECONDS
    return max(FEWEST_BYTES, math.ceil(latency / passes * OMNI_PATH_BYTES_PER_SECOND))
