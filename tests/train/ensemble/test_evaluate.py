"""The average of softmax outputs, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hvdtrain.errors import RunError
from hvdtrain.plan.method.model import ModelSpec

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.checkpoint.digest import weights_sha256  # noqa: E402
from hvdtrain.train.checkpoint.weights import load_weights, save_weights  # noqa: E402
from hvdtrain.train.ensemble.evaluate import EnsembleEvaluator, average_softmax  # noqa: E402
from hvdtrain.train.evaluate import Evaluator  # noqa: E402
from hvdtrain.train.models.network import make_model  # noqa: E402

pytestmark = pytest.mark.tf

CLASSES = 9
IMAGES = 31


def make_models(count: int) -> list[Any]:
    """Networks that disagree: their classifiers are far from 0."""
    models = []
    for seed in range(count):
        model = make_model(ModelSpec(name="small", image_size=8, classes=CLASSES), seed=seed)
        kernel = model.get_layer("logits").kernel
        kernel.assign(np.random.default_rng(seed).normal(scale=3.0, size=kernel.shape))
        models.append(model)
    return models


@pytest.fixture(scope="module")
def examples() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(3)
    images = generator.normal(size=(IMAGES, 8, 8, 3)).astype(np.float32)
    return images, generator.integers(0, CLASSES, IMAGES)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("count", [2, 3])
def test_the_average_is_numpys(
    count: int, examples: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    images, labels = examples
    models = make_models(count)
    outputs = [
        softmax(model(images, training=False).numpy().astype(np.float64)) for model in models
    ]
    mean = np.stack(outputs).mean(axis=0)
    own = mean[np.arange(IMAGES), labels]
    place = (mean > own[:, np.newaxis]).sum(axis=1)
    batches = [(images[at : at + 7], labels[at : at + 7]) for at in range(0, IMAGES, 7)]
    *alone, together = EnsembleEvaluator(models, ranks=1).evaluate(batches)
    assert together.count == IMAGES
    assert together.top1 == np.mean(place < 1)
    assert together.top5 == np.mean(place < 5)
    assert together.loss == pytest.approx(-np.log(own).mean(), rel=1e-6)
    # Models that disagree, or a wrong average would pass.
    assert len({result.loss for result in [*alone, together]}) == count + 1
    assert alone == [Evaluator(model, ranks=1).evaluate(batches) for model in models]


def test_an_ensemble_of_one_is_its_model(
    examples: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    (model,) = make_models(1)
    alone, together = EnsembleEvaluator([model], ranks=1).evaluate([examples])
    assert (together.count, together.top1, together.top5) == (alone.count, alone.top1, alone.top5)
    assert together.loss == pytest.approx(alone.loss, rel=1e-6)
    assert alone == Evaluator(model, ranks=1).evaluate([examples])


def test_no_probability_is_too_small() -> None:
    sure = np.array([[0.0, 2000.0], [2000.0, 0.0]], np.float32)
    log_mean = average_softmax([sure, sure]).numpy()
    assert log_mean == pytest.approx(np.array([[-2000.0, 0.0], [0.0, -2000.0]]))
    # Two that contradict each other: one half each.
    assert np.exp(average_softmax([sure, -sure]).numpy()) == pytest.approx(np.full((2, 2), 0.5))


def test_equal_outputs_rank_by_class_in_the_average_too() -> None:
    models = make_models(2)
    for model in models:
        model.get_layer("logits").kernel.assign(tf.zeros_like(model.get_layer("logits").kernel))
    images = np.zeros((CLASSES, 8, 8, 3), np.float32)
    *_, together = EnsembleEvaluator(models, ranks=1).evaluate([(images, np.arange(CLASSES))])
    assert (together.top1, together.top5) == (1 / CLASSES, 5 / CLASSES)


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(RunError, match="no examples"):
        EnsembleEvaluator(make_models(1), ranks=1).evaluate([])


def test_weights_are_those_of_the_record_or_refused(tmp_path: Path) -> None:
    model, other = make_models(2)
    save_weights(model, tmp_path)
    sha256 = weights_sha256(model.variables)
    load_weights(other, tmp_path, sha256)
    assert weights_sha256(other.variables) == sha256
    with pytest.raises(RunError, match="does not hold the weights of its record"):
        load_weights(other, tmp_path, "0" * 64)
    (tmp_path / "final.weights.h5").write_bytes(b"half a file")
    with pytest.raises(RunError, match=r"final.weights.h5 cannot be read"):
        load_weights(other, tmp_path, sha256)
    (tmp_path / "final.weights.h5").unlink()
    with pytest.raises(RunError, match=r"final.weights.h5 cannot be read"):
        load_weights(other, tmp_path, sha256)
