"""How fast a rank computes and moves data on its compute cores, while the others do the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.runs.preflight import NodeSpeed
from hvdtrain.train.process.world import World, allgather_row, barrier

MEASURED_SECONDS = 1.0
FEWEST_RUNS = 3
# One of the layers that most of ResNet-50's time goes into.
SIDE, CHANNELS, KERNEL = 14, 256, 3
IMAGES_PER_CORE = 4
# Two arrays of this size: more than any cache has for a core.
TRIAD_BYTES_PER_CORE = 20 * 2**20


def measure_nodes(world: World, cores: int) -> tuple[NodeSpeed, ...]:
    """The speeds of all nodes, in the order of their first ranks. Collective.

    Args:
        world: All ranks, and which of them share a node.
        cores: On which this rank computes.
    """
    barrier()
    gflop_per_second = _convolution_gflop_per_second(cores)
    barrier()
    triad_gb_per_second = _triad_gb_per_second(cores)
    return sum_over_nodes(
        world.hosts, allgather_row(np.array([gflop_per_second, triad_gb_per_second]))
    )


def sum_over_nodes(hosts: Sequence[str], speeds: npt.NDArray[np.float64]) -> tuple[NodeSpeed, ...]:
    """What the ranks of each node do together, in the order of the nodes' first ranks.

    Args:
        hosts: Node of every rank.
        speeds: float64 [ranks, 2]: GFLOP/s of the convolution, GB/s of the triad.
    """
    ranks: dict[str, list[int]] = {}
    for rank, host in enumerate(hosts):
        ranks.setdefault(host, []).append(rank)
    sums = {host: speeds[own].sum(axis=0).tolist() for host, own in ranks.items()}
    return tuple(
        NodeSpeed(host=host, gflop_per_second=gflop, triad_gb_per_second=triad)
        for host, (gflop, triad) in sums.items()
    )


def _convolution_gflop_per_second(cores: int) -> float:
    """A forward convolution, fp32, as oneDNN does it in the training."""
    images = IMAGES_PER_CORE * cores
    inputs = tf.random.stateless_normal([images, SIDE, SIDE, CHANNELS], (1, 2))
    kernel = tf.random.stateless_normal([KERNEL, KERNEL, CHANNELS, CHANNELS], (3, 4))

    def convolve() -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel, 1, "SAME")

    flop = 2 * images * SIDE**2 * KERNEL**2 * CHANNELS**2
    return flop / _median_seconds(tf.function(convolve)) / 1e9


def _triad_gb_per_second(cores: int) -> float:
    """STREAM's triad in place, v = v - s x: the one TensorFlow kernel that needs no third array."""
    elements = TRIAD_BYTES_PER_CORE // 4 * cores
    variable = tf.Variable(tf.ones([elements]))
    x = tf.ones([elements])

    def triad() -> None:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=0.5, delta=x)

    return 3 * 4 * elements / _median_seconds(triad) / 1e9


def _median_seconds(work: Callable[[], object]) -> float:
    work()
    seconds: list[float] = []
    end = time.perf_counter() + MEASURED_SECONDS
    while len(seconds) < FEWEST_RUNS or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)
