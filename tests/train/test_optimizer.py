"""The update against its equations, written again in NumPy at double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hvdtrain.plan.modelspec import ModelSpec

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.model import make_model  # noqa: E402
from hvdtrain.train.optimizer import MomentumSGD  # noqa: E402

pytestmark = pytest.mark.tf

STEPS = 100
SHAPES: list[tuple[int, ...]] = [(3, 3, 4, 8), (8,), (8, 5), (5,), ()]
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
    """Noise around a pull to zero, so that an error in the weights feeds on itself."""
    generator = np.random.default_rng(step)
    return [0.3 * w + generator.normal(size=w.shape) for w in weights]


def starting_weights() -> Weights:
    generator = np.random.default_rng(1000)
    return [np.asarray(generator.normal(size=shape)) for shape in SHAPES]


def by_the_equations(rate: Rate) -> Iterator[Weights]:
    """u = 0.9 u + g + lambda w;  w = w - lr u;  no lambda where the rank is 0 or 1."""
    weights = starting_weights()
    buffers = [np.zeros(shape) for shape in SHAPES]
    for step in range(STEPS):
        for i, g in enumerate(gradients(step, weights)):
            decay = weight_decay(step) if len(SHAPES[i]) >= 2 else 0.0
            buffers[i] = 0.9 * buffers[i] + g + decay * weights[i]
            weights[i] = weights[i] - rate(step) * buffers[i]
        yield weights


def by_goyals_correction(rate: Rate) -> Iterator[Weights]:
    """v = 0.9 (lr / last lr) v + lr (g + lambda w);  w = w - v: the rate inside the buffer."""
    weights = starting_weights()
    buffers = [np.zeros(shape) for shape in SHAPES]
    for step in range(STEPS):
        correction = rate(step) / rate(max(step - 1, 0))
        for i, g in enumerate(gradients(step, weights)):
            decay = weight_decay(step) if len(SHAPES[i]) >= 2 else 0.0
            buffers[i] = 0.9 * correction * buffers[i] + rate(step) * (g + decay * weights[i])
            weights[i] = weights[i] - buffers[i]
        yield weights


def by_the_optimizer(rate: Rate, dtype: Any) -> Iterator[Weights]:
    variables = [tf.Variable(w, dtype=dtype) for w in starting_weights()]
    update = tf.function(MomentumSGD(variables).apply)
    for step in range(STEPS):
        parts = gradients(step, [variable.numpy() for variable in variables])
        scalars = [tf.constant(value, dtype) for value in (rate(step), weight_decay(step))]
        update([tf.constant(part, dtype) for part in parts], *scalars)
        yield [variable.numpy() for variable in variables]


def flat(weights: Weights) -> NDArray[np.float64]:
    return np.concatenate([w.ravel() for w in weights])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("rate", [warm_up_and_decay, stairs])
def test_follows_the_equations_for_a_hundred_steps(
    rate: Rate, dtype: str, tolerance: float
) -> None:
    pairs = zip(by_the_optimizer(rate, dtype), by_the_equations(rate), strict=True)
    for ours, expected in pairs:
        assert np.linalg.norm(flat(ours) - flat(expected)) < tolerance * np.linalg.norm(
            flat(expected)
        )


def test_is_the_momentum_corrected_form() -> None:
    pairs = zip(by_the_optimizer(stairs, "float64"), by_goyals_correction(stairs), strict=True)
    for ours, expected in pairs:
        np.testing.assert_allclose(flat(ours), flat(expected), rtol=1e-9)


def test_decay_adds_lambda_w_to_kernels_only() -> None:
    kernel, offset = tf.Variable(tf.ones((2, 2))), tf.Variable(tf.ones(2))
    optimizer = MomentumSGD([kernel, offset])
    optimizer.apply([tf.zeros((2, 2)), tf.zeros(2)], tf.constant(0.5), tf.constant(0.25))
    assert kernel.numpy().tolist() == [[0.875, 0.875], [0.875, 0.875]]
    assert offset.numpy().tolist() == [1.0, 1.0]
    assert optimizer.slots[0].numpy().tolist() == [[0.25, 0.25], [0.25, 0.25]]


def test_slots_carry_the_whole_state() -> None:
    """A second optimizer given weights and slots goes on as the first would have."""
    variable = tf.Variable(starting_weights()[0])
    rates = tf.constant(0.1, tf.float64), tf.constant(1e-2, tf.float64)
    first = MomentumSGD([variable])
    first.apply([tf.ones_like(variable)], *rates)
    copy = tf.Variable(variable)
    second = MomentumSGD([copy])
    for slot, kept in zip(second.slots, first.slots, strict=True):
        slot.assign(kept)
    first.apply([tf.ones_like(variable)], *rates)
    second.apply([tf.ones_like(variable)], *rates)
    assert np.array_equal(variable.numpy(), copy.numpy())


def test_a_bf16_network_is_updated_in_float32() -> None:
    spec = ModelSpec(name="small", image_size=8, classes=4, precision="bf16")
    variables = make_model(spec).trainable_variables
    before = [variable.numpy() for variable in variables]
    optimizer = MomentumSGD(variables)
    assert {slot.dtype for slot in optimizer.slots} == {tf.float32}
    step = 2.0**-12  # lost if it were added to weights near 1 in bf16
    optimizer.apply([tf.ones(v.shape) for v in variables], tf.constant(step), tf.constant(0.0))
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old - np.float32(step))


def test_one_gradient_for_each_variable() -> None:
    optimizer = MomentumSGD([tf.Variable([1.0]), tf.Variable([2.0])])
    with pytest.raises(ValueError, match="shorter"):
        optimizer.apply([tf.constant([1.0])], tf.constant(0.1), tf.constant(0.0))
