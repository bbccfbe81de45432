"""Every update against its equations, written again in NumPy at double precision, and optax."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.optimizer import LambSpec, LarsSpec, OptimizerSpec, SgdSpec
from tests.train.trajectory import (
    SHAPES,
    STEPS,
    Rate,
    Weights,
    flat,
    gradients,
    stairs,
    starting_weights,
    warm_up_and_decay,
    weight_decay,
)

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.models.network import make_model  # noqa: E402
from hvdtrain.train.optim.optimizer import OPTIMIZERS, make_optimizer  # noqa: E402

pytestmark = pytest.mark.tf

REFERENCE = Path(__file__).parent / "reference" / "optax.json"
SGD, NESTEROV = SgdSpec(), SgdSpec(nesterov=True)
LARS, LAMB = LarsSpec(trust=0.02, epsilon=1e-3), LambSpec()
# As the authors of LAMB ran ResNet-50.
CLIPPED_LAMB = LambSpec(bias_correction=False, clip_norm=1.0)
EVERY = [SGD, NESTEROV, LARS, LAMB, CLIPPED_LAMB]
NAMES = ["sgd", "nesterov", "lars", "lamb", "clipped_lamb"]

Update = Callable[[int, Weights, Weights, float, float], Weights]


def norm(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.sum(values**2)))


def sgd_update() -> Update:
    """u = 0.9 u + g + lambda w;  w = w - lr u."""
    u = [np.zeros(shape) for shape in SHAPES]

    def update(_: int, weights: Weights, g: Weights, lr: float, decay: float) -> Weights:
        for i, w in enumerate(weights):
            u[i] = 0.9 * u[i] + g[i] + (decay * w if w.ndim >= 2 else 0)
        return [w - lr * u[i] for i, w in enumerate(weights)]

    return update


def nesterov_update() -> Update:
    """The same, with the step one look ahead: w = w - lr (g + lambda w + 0.9 u)."""
    u = [np.zeros(shape) for shape in SHAPES]

    def update(_: int, weights: Weights, g: Weights, lr: float, decay: float) -> Weights:
        new = []
        for i, w in enumerate(weights):
            slope = g[i] + (decay * w if w.ndim >= 2 else 0)
            u[i] = 0.9 * u[i] + slope
            new.append(w - lr * (slope + 0.9 * u[i]))
        return new

    return update


def lars_update() -> Update:
    """v = 0.9 v + lr r (g + lambda w);  w = w - v;  r = 0.02 |w| / (|g| + lambda |w| + 0.001)."""
    v = [np.zeros(shape) for shape in SHAPES]

    def update(_: int, weights: Weights, g: Weights, lr: float, decay: float) -> Weights:
        for i, w in enumerate(weights):
            if w.ndim >= 2:
                ratio = 0.02 * norm(w) / (norm(g[i]) + decay * norm(w) + 1e-3)
                v[i] = 0.9 * v[i] + lr * ratio * (g[i] + decay * w)
            else:
                v[i] = 0.9 * v[i] + lr * g[i]
        return [w - v[i] for i, w in enumerate(weights)]

    return update


def lamb_update(*, correct: bool, clip: float) -> Update:
    """m and v as Adam has them; a step of the length of the weights."""
    m = [np.zeros(shape) for shape in SHAPES]
    v = [np.zeros(shape) for shape in SHAPES]

    def update(step: int, weights: Weights, g: Weights, lr: float, decay: float) -> Weights:
        shorter = min(1.0, clip / norm(flat(g)))
        fill1, fill2 = (1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)) if correct else (1, 1)
        new = []
        for i, w in enumerate(weights):
            m[i] = 0.9 * m[i] + 0.1 * shorter * g[i]
            v[i] = 0.999 * v[i] + 0.001 * (shorter * g[i]) ** 2
            u = m[i] / fill1 / (np.sqrt(v[i] / fill2) + 1e-6)
            ratio = 1.0
            if w.ndim >= 2:
                u = u + decay * w
                ratio = norm(w) / norm(u)
            new.append(w - lr * ratio * u)
        return new

    return update


BY_THE_EQUATIONS: list[Callable[[], Update]] = [
    sgd_update,
    nesterov_update,
    lars_update,
    lambda: lamb_update(correct=True, clip=np.inf),
    lambda: lamb_update(correct=False, clip=1.0),
]


def follow(update: Update, rate: Rate) -> Iterator[Weights]:
    weights = starting_weights()
    for step in range(STEPS):
        slopes = gradients(step, weights)
        weights = update(step, weights, slopes, rate(step), weight_decay(step))
        yield weights


def by_the_optimizer(
    spec: OptimizerSpec, rate: Rate, dtype: Any, decay: Rate = weight_decay
) -> Iterator[Weights]:
    variables = [tf.Variable(w, dtype=dtype) for w in starting_weights()]
    update = tf.function(make_optimizer(spec, variables).apply)
    for step in range(STEPS):
        parts = gradients(step, [variable.numpy() for variable in variables])
        scalars = [tf.constant(value, dtype) for value in (rate(step), decay(step))]
        update([tf.constant(part, dtype) for part in parts], *scalars)
        yield [variable.numpy() for variable in variables]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("rate", [warm_up_and_decay, stairs])
@pytest.mark.parametrize(
    ("spec", "equations"), list(zip(EVERY, BY_THE_EQUATIONS, strict=True)), ids=NAMES
)
def test_follows_the_equations_for_a_hundred_steps(
    spec: OptimizerSpec,
    equations: Callable[[], Update],
    rate: Rate,
    dtype: str,
    tolerance: float,
) -> None:
    def gentle(step: int) -> float:
        """A rate of 0.4 would turn LAMB's weights over in three steps, errors and all."""
        return rate(step) * (0.1 if isinstance(spec, LambSpec) else 1)

    pairs = zip(by_the_optimizer(spec, gentle, dtype), follow(equations(), gentle), strict=True)
    for ours, expected in pairs:
        error = norm(flat(ours).astype(np.float64) - flat(expected))
        assert error < tolerance * norm(flat(expected))


@pytest.mark.parametrize(
    ("name", "spec", "decay"),
    [
        ("sgd", SGD, 5e-2),
        ("nesterov", NESTEROV, 5e-2),
        ("lars", LarsSpec(trust=0.01), 0.0),
        ("lamb", LAMB, 5e-2),
    ],
)
def test_goes_where_optax_goes(name: str, spec: OptimizerSpec, decay: float) -> None:
    """See reference/make_optax.py."""
    reference = json.loads(REFERENCE.read_text())[name]
    assert list(reference) == ["1", "10", "100"]
    ours = list(by_the_optimizer(spec, warm_up_and_decay, "float64", lambda _: decay))
    for step, expected in reference.items():
        np.testing.assert_allclose(flat(ours[int(step) - 1]), expected, rtol=1e-6)


def test_sgd_is_the_momentum_corrected_form() -> None:
    """v = 0.9 (lr / last lr) v + lr (g + lambda w);  w = w - v: the rate inside the buffer."""
    weights = starting_weights()
    buffers = [np.zeros(shape) for shape in SHAPES]
    for step, ours in enumerate(by_the_optimizer(SGD, stairs, "float64")):
        correction = stairs(step) / stairs(max(step - 1, 0))
        for i, g in enumerate(gradients(step, weights)):
            decay = weight_decay(step) if len(SHAPES[i]) >= 2 else 0.0
            buffers[i] = 0.9 * correction * buffers[i] + stairs(step) * (g + decay * weights[i])
            weights[i] = weights[i] - buffers[i]
        np.testing.assert_allclose(flat(ours), flat(weights), rtol=1e-9)


def first_step(
    spec: OptimizerSpec, weights: Any, slope: Any, *, lr: float = 0.5, decay: float = 0.0
) -> NDArray[np.float64]:
    """What the first update adds to one variable."""
    variable = tf.Variable(weights, dtype=tf.float64)
    before = variable.numpy()
    rates = tf.constant(lr, tf.float64), tf.constant(decay, tf.float64)
    make_optimizer(spec, [variable]).apply([tf.constant(slope, tf.float64)], *rates)
    change: NDArray[np.float64] = variable.numpy() - before
    return change


KERNEL, SLOPE = np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([[1.0, 2.0], [2.0, -4.0]])


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e9])
def test_the_first_step_of_lars_is_a_share_of_the_weights(factor: float) -> None:
    change = first_step(LarsSpec(), KERNEL, factor * SLOPE)
    assert norm(change) == pytest.approx(0.5 * 0.001 * 5, rel=1e-9)
    np.testing.assert_allclose(change, -0.5 * 0.001 * 5 / 5 * SLOPE, rtol=1e-9)


def test_the_first_step_of_lamb_is_as_long_as_the_weights() -> None:
    assert norm(first_step(LambSpec(), KERNEL, SLOPE)) == pytest.approx(0.5 * 5, rel=1e-9)


@pytest.mark.parametrize("spec", [LARS, LAMB], ids=["lars", "lamb"])
def test_weights_of_zero_can_leave_zero(spec: OptimizerSpec) -> None:
    plain = SGD if spec is LARS else LAMB
    change = first_step(spec, np.zeros((2, 2)), SLOPE, decay=0.1)
    # A vector has no ratio: what LAMB then does is Adam.
    expected = first_step(plain, np.zeros(4), SLOPE.ravel()).reshape(2, 2)
    np.testing.assert_allclose(change, expected, rtol=1e-12)


@pytest.mark.parametrize("spec", [LARS, LAMB], ids=["lars", "lamb"])
def test_a_gradient_of_zero_leaves_weights_alone_without_decay(spec: OptimizerSpec) -> None:
    np.testing.assert_array_equal(first_step(spec, KERNEL, np.zeros((2, 2))), np.zeros((2, 2)))


def test_lamb_without_its_ratio_is_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hvdtrain.train.optim.lamb._ratio", lambda *_: 1.0)
    start = starting_weights()[0]
    ours, others = tf.Variable(start), tf.Variable(start)
    lamb = make_optimizer(LambSpec(epsilon=1e-12), [ours])
    adamw = tf.keras.optimizers.AdamW(0.1, weight_decay=0.05, epsilon=1e-12)
    for step in range(20):
        (slope,) = gradients(step, [ours.numpy()])
        lamb.apply([tf.constant(slope)], *(tf.constant(x, tf.float64) for x in (0.1, 0.05)))
        adamw.apply_gradients([(tf.constant(slope), others)])
    # Keras rounds 0.999 to float32, which leaves five digits of 1 - 0.999.
    np.testing.assert_allclose(ours.numpy(), others.numpy(), atol=2e-5)


def test_every_spec_of_a_recipe_is_built() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimizerSpec)) == {type(spec) for spec in EVERY}


@pytest.mark.parametrize("spec", EVERY, ids=NAMES)
def test_exclusions_outlive_the_specs_journey_through_a_file(spec: OptimizerSpec) -> None:
    """Biases and normalisation know no decay and no ratio, also after a round trip."""
    encoded = msgspec.json.encode(spec)
    read: OptimizerSpec = msgspec.json.decode(encoded, type=OptimizerSpec)
    assert read == spec
    vector, slope = np.array([3.0, 4.0]), np.array([0.1, 0.2])
    np.testing.assert_array_equal(
        first_step(read, vector, slope, decay=0.9), first_step(read, vector, slope)
    )
    # No ratio: the step does not grow with the weights.
    np.testing.assert_allclose(
        first_step(read, 1000 * vector, slope), first_step(read, vector, slope), rtol=1e-9
    )
    kernel = KERNEL + 1
    assert not np.array_equal(
        first_step(read, kernel, SLOPE, decay=0.9), first_step(read, kernel, SLOPE)
    )


@pytest.mark.parametrize("spec", EVERY, ids=NAMES)
def test_slots_carry_the_whole_state(spec: OptimizerSpec) -> None:
    """A second optimizer given weights and slots goes on as the first would have."""
    variable = tf.Variable(starting_weights()[0])
    rates = tf.constant(0.1, tf.float64), tf.constant(1e-2, tf.float64)
    first = make_optimizer(spec, [variable])
    for _ in range(3):
        first.apply([tf.cos(variable)], *rates)
    copy = tf.Variable(variable)
    second = make_optimizer(spec, [copy])
    for slot, kept in zip(second.slots, first.slots, strict=True):
        slot.assign(kept)
    first.apply([tf.cos(variable)], *rates)
    second.apply([tf.cos(copy)], *rates)
    assert np.array_equal(variable.numpy(), copy.numpy())


@pytest.mark.parametrize("spec", EVERY, ids=NAMES)
def test_a_bf16_network_is_updated_in_float32(spec: OptimizerSpec) -> None:
    model = make_model(ModelSpec(name="small", image_size=8, classes=4, precision="bf16"))
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    optimizer = make_optimizer(spec, variables)
    assert {slot.dtype for slot in optimizer.slots} <= {tf.float32, tf.int64}
    # Lost if it were added to weights near 1 in bf16.
    optimizer.apply([tf.ones(v.shape) for v in variables], tf.constant(2e-4), tf.constant(1e-4))
    for variable, old in zip(variables, before, strict=True):
        assert variable.numpy().dtype == np.float32
        moved = variable.numpy() != old
        assert moved.mean() > 0.9 or not old.any()


def test_a_small_step_of_sgd_is_exact_under_bf16() -> None:
    spec = ModelSpec(name="small", image_size=8, classes=4, precision="bf16")
    variables = make_model(spec).trainable_variables
    before = [variable.numpy() for variable in variables]
    step = 2.0**-12
    optimizer = make_optimizer(SGD, variables)
    optimizer.apply([tf.ones(v.shape) for v in variables], tf.constant(step), tf.constant(0.0))
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old - np.float32(step))


@pytest.mark.parametrize("spec", EVERY, ids=NAMES)
def test_one_gradient_for_each_variable(spec: OptimizerSpec) -> None:
    optimizer = make_optimizer(spec, [tf.Variable([1.0]), tf.Variable([2.0])])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        optimizer.apply([tf.constant([1.0])], tf.constant(0.1), tf.constant(0.0))
