"""One number for a network's state, to see whether two ranks, or two runs, hold the same."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.errors import RunError
from hvdtrain.names import name_some

_MOST_THREADS = 16


def weights_sha256(variables: Sequence[tf.Variable]) -> str:
    """SHA-256 of the bytes of all variables, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()


def replica_sha256(arrays: Sequence[npt.NDArray[Any]]) -> bytes:
    """SHA-256 of the SHA-256 of each array, in order.

    Several threads share the work: all ranks wait for it at every checkpoint, and processors
    without instructions for it take a second for the weights and slots of ResNet-50.
    """
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        return hashlib.sha256(b"".join(pool.map(_array_sha256, arrays))).digest()


def require_same_replicas(digests: Sequence[bytes], hosts: Sequence[str], step: int) -> None:
    """Raise unless all ranks hold the same. Every rank that has the same arguments raises the same.

    Args:
        digests: `replica_sha256` of every rank.
        hosts: Node of every rank.
        step: Updates made.

    Raises:
        RunError: They differ. The ranks that differ from most are named; where no value has a
            majority, nobody can say which is right.
    """
    counts = Counter(digests)
    if len(counts) <= 1:
        return
    (usual, votes), *_ = counts.most_common()
    no_majority = 2 * votes <= len(digests)
    different = [rank for rank, digest in enumerate(digests) if no_majority or digest != usual]
    named = name_some([f"rank {rank} on {hosts[rank]}" for rank in different])
    raise RunError(
        f"after step {step} the ranks hold {len(counts)} different sets of weights: "
        + (
            f"{named}, and none has a majority"
            if no_majority
            else f"{named}, against {votes} ranks that hold the same"
        ),
        "start the run again with the same --run-id, without these nodes: it goes on from its "
        "last checkpoint, in which all ranks were the same",
    )


def _array_sha256(array: npt.NDArray[Any]) -> bytes:
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).digest()
