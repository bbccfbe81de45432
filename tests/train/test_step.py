"""The compiled step on one rank, and what two ranks make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hvdtrain.plan.method.model import ModelSpec
from tests.ranks import run_ranks

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.models.network import make_model  # noqa: E402
from hvdtrain.train.optim.optimizer import MomentumSGD  # noqa: E402
from hvdtrain.train.reduction.mean import AllreduceMean  # noqa: E402
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
    return model, make_train_step(model, optimizer, AllreduceMean(1), rank_batch=BATCH, ranks=1)


def test_loss_is_the_mean_cross_entropy() -> None:
    logits = np.random.default_rng(1).normal(size=(BATCH, CLASSES)) * 30
    labels = np.arange(BATCH) % CLASSES
    exact = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(BATCH), labels]
    loss = mean_loss(tf.constant(logits, tf.float32), tf.constant(labels, tf.int64))
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(exact.mean(), rel=1e-6)


def test_smoothing_spreads_a_share_of_the_label_evenly() -> None:
    logits = np.random.default_rng(1).normal(size=(BATCH, CLASSES)) * 30
    labels = np.arange(BATCH) % CLASSES
    targets = 0.9 * np.eye(CLASSES)[labels] + 0.1 / CLASSES
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    exact = -(targets * log_softmax).sum(axis=1).mean()
    loss = mean_loss(tf.constant(logits, tf.float32), tf.constant(labels, tf.int64), 0.1)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(exact, rel=1e-6)


def test_the_step_learns_from_smoothed_labels() -> None:
    model = make_model(ModelSpec(name="small", image_size=8, classes=CLASSES))
    expected = mean_loss(model(example()[0], training=True), example()[1], 0.3)
    optimizer = MomentumSGD(model.trainable_variables)
    step = make_train_step(
        model, optimizer, AllreduceMean(1), rank_batch=BATCH, ranks=1, label_smoothing=0.3
    )
    losses = [float(step(*example(), 0.05, 0.0).loss) for _ in range(40)]
    assert losses[0] == pytest.approx(float(expected), rel=1e-5)
    # No network gets below the entropy of the smoothed labels.
    probabilities = np.array([0.7 + 0.3 / CLASSES] + [0.3 / CLASSES] * (CLASSES - 1))
    entropy = -(probabilities * np.log(probabilities)).sum()
    assert entropy < losses[-1] < entropy + 0.1


def test_bf16_computes_in_bf16_and_keeps_float32_weights() -> None:
    """Many steps that bf16 weights would not feel add up."""
    model, step = make("bf16")
    operations = step.update.get_concrete_function().graph.get_operations()
    convolutions = [op for op in operations if op.type.startswith("Conv2D")]
    assert {op.outputs[0].dtype for op in convolutions} == {tf.bfloat16}
    kernel = model.get_layer("logits").kernel
    convolution = model.get_layer("stem_conv").kernel
    before = convolution.numpy()
    assert before.dtype == kernel.numpy().dtype == np.float32
    rate = 1e-5
    for _ in range(30):
        step(*example(), rate, 0.0)
    change = convolution.numpy() - before
    spacing = np.abs(before) * 2.0**-8  # of bf16, at most twice that
    assert (np.abs(change)[np.abs(before) > 0.01] < spacing[np.abs(before) > 0.01] / 2).any()
    assert (change != 0).mean() > 0.9
    rounded = tf.cast(tf.cast(convolution, tf.bfloat16), tf.float32).numpy()
    assert not np.array_equal(convolution.numpy(), rounded)


def plain_model() -> Any:
    """Without normalisation, so that a batch is the sum of its parts."""
    start = tf.keras.initializers.GlorotUniform(seed=3)
    return tf.keras.Sequential(
        [
            tf.keras.layers.Conv2D(
                4, 3, activation="tanh", kernel_initializer=start, input_shape=(8, 8, 3)
            ),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(CLASSES, kernel_initializer=start),
        ]
    )


@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_parts_of_a_batch_add_up_to_the_batch(accumulate: int) -> None:
    ends = []
    for parts in (1, accumulate):
        model = plain_model()
        optimizer = MomentumSGD(model.trainable_variables)
        step = make_train_step(
            model,
            optimizer,
            AllreduceMean(1),
            rank_batch=BATCH // parts,
            ranks=1,
            accumulate=parts,
        )
        images, labels = example()
        size = BATCH // parts
        losses = []
        for _ in range(5):
            for first in range(0, BATCH - size, size):
                step.add(images[first : first + size], labels[first : first + size])
            losses.append(float(step(images[-size:], labels[-size:], 0.1, 1e-3).loss))
        ends.append((losses, model.get_weights()))
    (whole_losses, whole), (losses, weights) = ends
    np.testing.assert_allclose(losses, whole_losses, rtol=1e-5)
    for a, b in zip(weights, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


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
    assert step.update.experimental_get_tracing_count() == 1


def test_one_rank_reduces_nothing() -> None:
    _, step = make()
    result = step(*example(), 0.1, 0.0)
    assert float(result.exposed_seconds) == 0.0
    assert float(result.loss) == float(result.rank_loss)
    operations = {op.type for op in step.update.get_concrete_function().graph.get_operations()}
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
from hvdtrain.train.optim.optimizer import MomentumSGD
from hvdtrain.train.reduction.mean import AllreduceMean, broadcast_state
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
parts = int(sys.argv[1])
part = 8 // ranks // parts
reductions = AllreduceMean(ranks, most_bytes=500)
step = make_train_step(
    model, optimizer, reductions, rank_batch=part, ranks=ranks, accumulate=parts
)
generator = np.random.default_rng(2)
results = []
for number in range(5):
    images = generator.normal(size=(8, 6, 6, 3)).astype(np.float32)
    labels = generator.integers(0, 3, 8)
    cuts = [slice(first, first + part) for first in range(0, 8, part)]
    *others, last = cuts[rank * parts : (rank + 1) * parts]
    for cut in others:
        step.add(images[cut], labels[cut])
    results.append(step(images[last], labels[last], 0.1, 1e-3))
reducing = {
    name: sum(
        "Allreduce" in op.type for op in function.get_concrete_function().graph.get_operations()
    )
    for name, function in (("add", step.add), ("update", step.update))
    if parts > 1
}
weights = [weight.tolist() for weight in model.get_weights()]
print(json.dumps({
    "weights": weights,
    "reducing": reducing,
    "digest": hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest(),
    "losses": [float(result.loss) for result in results],
    "rank_losses": [float(result.rank_loss) for result in results],
    "norms": [float(result.gradient_norm) for result in results],
}))
"""


@pytest.mark.ranks
@pytest.mark.parametrize("parts", [1, 2])
def test_two_half_batches_are_one_whole(tmp_path: Path, parts: int) -> None:
    """Also when each half comes in two parts, with one reduction for both."""

    def run(ranks: int, parts: int) -> list[Any]:
        words = ["-c", SAME, str(parts)]
        return [json.loads(text) for text in run_ranks(words, tmp_path / str(ranks), ranks=ranks)]

    [whole], halves = run(1, 1), run(2, parts)
    assert halves[0]["digest"] == halves[1]["digest"]
    assert halves[0]["losses"] == halves[1]["losses"]
    assert halves[0]["rank_losses"] != halves[1]["rank_losses"]
    assert halves[0]["norms"] == halves[1]["norms"]
    if parts > 1:
        assert halves[0]["reducing"]["add"] == 0
        assert halves[0]["reducing"]["update"] > 0
    np.testing.assert_allclose(halves[0]["losses"], whole["losses"], rtol=1e-5)
    np.testing.assert_allclose(halves[0]["norms"], whole["norms"], rtol=1e-4)
    for a, b in zip(halves[0]["weights"], whole["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# Rank 1 comes half a second late, then with images that are no numbers. Also: what waits for the
# clocks.
LATE = """
import json, time
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.train.models.network import make_model
from hvdtrain.train.optim.optimizer import MomentumSGD
from hvdtrain.train.reduction.mean import AllreduceMean
from hvdtrain.train.step import make_train_step

hvd.init()
model = make_model(ModelSpec(name="small", image_size=8, classes=4))
step = make_train_step(
    model, MomentumSGD(model.trainable_variables), AllreduceMean(2), rank_batch=2, ranks=2
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
    for op in step.update.get_concrete_function().graph.get_operations()
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
