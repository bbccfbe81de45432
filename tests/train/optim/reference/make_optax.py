"""Makes optax.json, the same hundred steps as optax takes them. Print it with

    python3.11 -m venv optax-env
    optax-env/bin/pip install jax==0.10.2 optax==0.2.8
    optax-env/bin/python -m tests.train.optim.reference.make_optax \\
        > tests/train/optim/reference/optax.json

from the top of the checkout. The environment is one of its own, because JAX and TensorFlow 2.15 do
not resolve together.

optax's LARS divides by |g + lambda w| where the paper has |g| + lambda |w|, so it runs without
decay. Its LAMB lets the ratio act on biases too; here the mask of the decay holds for both.
"""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np
import optax

from tests.train.trajectory import (
    SHAPES,
    STEPS,
    Weights,
    gradients,
    starting_weights,
    warm_up_and_decay,
)

KEPT_STEPS = (1, 10, STEPS)
DECAY = 5e-2
MASK = [len(shape) > 1 for shape in SHAPES]
RATES = np.array([warm_up_and_decay(step) for step in range(STEPS)])


def rate(count: Any) -> Any:
    return jax.numpy.asarray(RATES)[count]


def sgd(*, nesterov: bool) -> Any:
    return optax.chain(
        optax.add_decayed_weights(DECAY, mask=MASK),
        optax.trace(0.9, nesterov=nesterov),
        optax.scale_by_learning_rate(rate),
    )


def lars() -> Any:
    return optax.lars(rate, trust_coefficient=0.01, trust_ratio_mask=MASK)


def lamb() -> Any:
    return optax.chain(
        optax.scale_by_adam(0.9, 0.999, eps=1e-6),
        optax.add_decayed_weights(DECAY, mask=MASK),
        optax.masked(optax.scale_by_trust_ratio(), MASK),
        optax.scale_by_learning_rate(rate),
    )


def follow(optimizer: Any) -> dict[str, list[float]]:
    """All weights in one list, after some of the steps."""
    weights: Weights = starting_weights()
    state = optimizer.init(weights)
    kept = {}
    for step in range(STEPS):
        updates, state = optimizer.update(gradients(step, weights), state, weights)
        weights = [np.asarray(w) for w in optax.apply_updates(weights, updates)]
        if step + 1 in KEPT_STEPS:
            kept[str(step + 1)] = [float(x) for w in weights for x in w.ravel()]
    return kept


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    reference = {
        "made_with": {"optax": optax.__version__, "jax": jax.__version__},
        "sgd": follow(sgd(nesterov=False)),
        "nesterov": follow(sgd(nesterov=True)),
        "lars": follow(lars()),
        "lamb": follow(lamb()),
    }
    print(json.dumps(reference, indent=1))


if __name__ == "__main__":
    main()
