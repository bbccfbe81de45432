"""The compiled step on one rank, and what two ranks make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hvdtrain.plan.modelspec import ModelSpec
from tests.ranks import run_ranks

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.model import make_model  # noqa: E402
from hvdtrain.train.optimizer import MomentumSGD  # noqa: E402
from hvdtrain.train.reduce import GradientMean  # noqa: E402
from hvdtrain.train.step import make_train_step, mean_loss  # noqa: E402

pytestmark = pytest.mark.tf

BATCH, CLASSES = 6, 4


def example(batch: int = BATCH) -> tuple[Any, Any]:
    generator = np.random.default_rng(1)
    images = generator.normal(size=(batch, 8, 8, 3)).astype(np.float32)
    return tf.constant(images), tf.constant(np.arange(batch) % CLASSES, tf.int64)


def make(precision: Any = "fp32") -> tuple[Any, Any]:
    spec = ModelSpec(name="small", image_size=8, classes=CLASSES, precision=precision)
    model = make_model(spec)
    optimizer = MomentumSGD(model.trainable_variables)
    return model, make_train_step(model, optimizer, GradientMean(1), rank_batch=BATCH, ranks=1)


def test_loss_is_the_mean_cross_entropy() -> None:
    logits = np.random.default_rng(1).normal(size=(BATCH, CLASSES)) * 30
    labels = np.arange(BATCH) % CLASSES
    exact = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(BATCH), labels]
    loss = mean_loss(tf.constant(logits, tf.float32), tf.constant(labels, tf.int64))
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(exact.mean(), rel=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_repeating_a_batch_learns_it(precision: str) -> None:
    _, step = make(precision)
    losses = [float(step(*example(), 0.05, 1e-4).loss) for _ in range(20)]
    assert losses[0] == pytest.approx(np.log(CLASSES), abs=0.5)
    assert losses[-1] < 0.2 * losses[0]


def test_rate_zero_changes_statistics_and_no_weight() -> None:
    model, step = make()
    weights = [variable.numpy() for variable in model.trainable_variables]
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    step(*example(), 0.0, 1e-4)
    for old, variable in zip(weights, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    for old, variable in zip(statistics, model.non_trainable_variables, strict=True):
        assert not np.array_equal(variable.numpy(), old)


def test_a_new_rate_is_no_new_compilation() -> None:
    _, step = make()
    for number in range(4):
        step(*example(), 0.1 / (1 + number), 1e-4 * number)
    assert step.experimental_get_tracing_count() == 1


def test_one_rank_reduces_nothing() -> None:
    _, step = make()
    result = step(*example(), 0.1, 0.0)
    assert float(result.exposed_seconds) == 0.0
    assert float(result.loss) == float(result.rank_loss)
    operations = {op.type for op in step.get_concrete_function().graph.get_operations()}
    assert not [kind for kind in operations if "Horovod" in kind]


def test_another_batch_size_is_refused() -> None:
    _, step = make()
    with pytest.raises((TypeError, ValueError)):
        step(*example(BATCH + 1), 0.1, 0.0)


# A network without normalisation, where two half batches are one whole batch.
SAME = """
import hashlib, json, sys
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from hvdtrain.train.optimizer import MomentumSGD
from hvdtrain.train.reduce import GradientMean, broadcast_state
from hvdtrain.train.step import make_train_step

hvd.init()
rank, ranks = hvd.rank(), hvd.size()
tf.keras.utils.set_random_seed(5 if ranks == 1 else 5 + rank)
model = tf.keras.Sequential([
    tf.keras.layers.Conv2D(4, 3, activation="tanh", input_shape=(6, 6, 3)),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(3),
])
optimizer = MomentumSGD(model.trainable_variables)
broadcast_state([*model.variables, *optimizer.slots], ranks)
rank_batch = 8 // ranks
step = make_train_step(
    model, optimizer, GradientMean(ranks, group_bytes=500), rank_batch=rank_batch, ranks=ranks
)
generator = np.random.default_rng(2)
results = []
for number in range(5):
    images = generator.normal(size=(8, 6, 6, 3)).astype(np.float32)[rank * rank_batch :]
    labels = generator.integers(0, 3, 8)[rank * rank_batch :]
    results.append(step(images[:rank_batch], labels[:rank_batch], 0.1, 1e-3))
weights = [weight.tolist() for weight in model.get_weights()]
print(json.dumps({
    "weights": weights,
    "digest": hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest(),
    "losses": [float(result.loss) for result in results],
    "rank_losses": [float(result.rank_loss) for result in results],
}))
"""


@pytest.mark.ranks
def test_two_half_batches_are_one_whole(tmp_path: Path) -> None:
    [whole] = [json.loads(text) for text in run_ranks(["-c", SAME], tmp_path / "one", ranks=1)]
    halves = [json.loads(text) for text in run_ranks(["-c", SAME], tmp_path / "two", ranks=2)]
    assert halves[0]["digest"] == halves[1]["digest"]
    assert halves[0]["losses"] == halves[1]["losses"]
    assert halves[0]["rank_losses"] != halves[1]["rank_losses"]
    np.testing.assert_allclose(halves[0]["losses"], whole["losses"], rtol=1e-5)
    for a, b in zip(halves[0]["weights"], whole["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# Rank 1 comes half a second late, then with images that are no numbers. Also: what waits for the
# clocks.
LATE = """
import json, time
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.train.model import make_model
from hvdtrain.train.optimizer import MomentumSGD
from hvdtrain.train.reduce import GradientMean
from hvdtrain.train.step import make_train_step

hvd.init()
model = make_model(ModelSpec(name="small", image_size=8, classes=4))
step = make_train_step(
    model, MomentumSGD(model.trainable_variables), GradientMean(2), rank_batch=2, ranks=2
)
images, labels = np.ones((2, 8, 8, 3), np.float32), np.array([0, 1])
for _ in range(3):
    step(images, labels, 0.0, 0.0)
if hvd.rank() == 1:
    time.sleep(0.5)
start = time.perf_counter()
exposed = float(step(images, labels, 0.0, 0.0).exposed_seconds)
seconds = time.perf_counter() - start
if hvd.rank() == 1:
    images = images * np.nan
broken = step(images, labels, 0.0, 0.0)
waiting = {
    op.type
    for op in step.get_concrete_function().graph.get_operations()
    for before in [*op.control_inputs, *(tensor.op for tensor in op.inputs)]
    if before.type == "Timestamp"
}
print(json.dumps({
    "exposed": exposed,
    "seconds": seconds,
    "waiting": sorted(waiting),
    "broken": str(float(broken.loss)),
    "broken_here": str(float(broken.rank_loss)),
}))
"""


@pytest.mark.ranks
def test_waiting_is_exposed_and_nonsense_is_shared(tmp_path: Path) -> None:
    outputs = run_ranks(["-c", LATE], tmp_path / "out")
    early, late = (json.loads(output) for output in outputs)
    assert 0.4 < early["exposed"] < early["seconds"]
    assert 0.0 < late["exposed"] < 0.3
    assert late["exposed"] < late["seconds"]
    # The difference and the end of the step wait for the clocks; no gradient and no update does.
    assert early["waiting"] == ["NoOp", "Sub", "Timestamp"]
    assert early["broken"] == late["broken"] == "nan"
    assert (early["broken_here"] != "nan") and (late["broken_here"] == "nan")
