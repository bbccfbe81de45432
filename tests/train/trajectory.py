"""A hundred steps that every optimizer is put through, without any library's random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

STEPS = 100
# A convolution, a dense kernel, vectors as normalisation and biases have them, and a scalar.
SHAPES: list[tuple[int, ...]] = [(2, 2, 3, 4), (4,), (4, 3), (3,), ()]
Weights = list[NDArray[np.float64]]
Rate = Callable[[int], float]


def warm_up_and_decay(step: int) -> float:
    """From 0 up and to 0 down: another rate at every step."""
    return 0.4 * min(step / 20, (STEPS - 1 - step) / (STEPS - 21))


def stairs(step: int) -> float:
    return 0.3 * 0.1 ** (step // 30)


def weight_decay(step: int) -> float:
    return 5e-2 if step < 60 else 1e-1


def gradients(step: int, weights: Weights) -> Weights:
    """Waves around a pull to zero, so that an error in the weights feeds on itself."""
    return [0.3 * w + _waves(w.shape, 1.7 * step + 0.5 * i) for i, w in enumerate(weights)]


def starting_weights() -> Weights:
    return [_waves(shape, 0.9 + i) for i, shape in enumerate(SHAPES)]


def flat(weights: Weights) -> NDArray[np.float64]:
    return np.concatenate([w.ravel() for w in weights])


def _waves(shape: tuple[int, ...], phase: float) -> NDArray[np.float64]:
    size = int(np.prod(shape))
    waves: NDArray[np.float64] = np.sin(np.arange(1, size + 1) * 2.3 + phase * phase)
    return waves.reshape(shape)
