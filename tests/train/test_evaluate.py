"""Counts against NumPy, and one answer whatever the number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.plan.method.model import ModelSpec
from tests.ranks import run_ranks

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.evaluate import Evaluator, count_hits  # noqa: E402
from hvdtrain.train.models.network import make_model  # noqa: E402

pytestmark = pytest.mark.tf


def counted(logits: object, labels: object) -> list[float]:
    hits = count_hits(tf.constant(logits, tf.float32), tf.constant(labels, tf.int64))
    result: list[float] = hits.numpy().tolist()
    return result


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 20), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_counts_are_numpys(examples: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Few distinct values: many ties.
    logits = generator.integers(0, 4, (examples, classes)).astype(np.float64)
    labels = generator.integers(-1, classes, examples)
    best = np.argsort(-logits, axis=1, kind="stable")
    kept = [i for i in range(examples) if labels[i] >= 0]
    top1 = sum(labels[i] == best[i, 0] for i in kept)
    top5 = sum(labels[i] in best[i, :5] for i in kept)
    loss = sum(np.log(np.exp(logits[i]).sum()) - logits[i, labels[i]] for i in kept)
    assert counted(logits, labels) == pytest.approx([len(kept), top1, top5, loss], rel=1e-5)


def test_a_network_that_says_nothing_scores_chance() -> None:
    assert counted(np.zeros((10, 10)), np.arange(10))[:3] == [10, 1, 5]


@pytest.mark.parametrize("nonsense", [np.nan, np.inf])
def test_a_logit_that_is_no_number_is_a_miss(nonsense: float) -> None:
    logits = np.eye(3)
    logits[0, 1] = nonsense
    assert counted(logits, [0, 1, 2])[:3] == [3, 2, 2]


def test_padding_does_not_count() -> None:
    model = make_model(ModelSpec(name="small", image_size=8, classes=4))
    images = np.random.default_rng(1).normal(size=(6, 8, 8, 3)).astype(np.float32)
    labels = np.arange(6) % 4
    evaluator = Evaluator(model, ranks=1)
    ragged = evaluator.evaluate([(images[:4], labels[:4]), (images[4:], labels[4:])])
    padded_images = np.concatenate([images, np.full_like(images[:2], np.nan)])
    padded = evaluator.evaluate([(padded_images, np.append(labels, [-1, -1]))])
    assert ragged.count == 6
    assert ragged.top5 == 1.0  # four classes
    assert (padded.count, padded.top1, padded.top5) == (6, ragged.top1, 1.0)
    assert padded.loss == pytest.approx(ragged.loss, rel=1e-6)


def test_nothing_to_evaluate_is_said() -> None:
    model = make_model(ModelSpec(name="small", image_size=8, classes=4))
    with pytest.raises(RunError, match="no examples"):
        Evaluator(model, ranks=1).evaluate([])


# 23 examples; with three ranks the last has none.
PROGRAM = """
import json
import horovod.tensorflow as hvd
import numpy as np
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.train.evaluate import Evaluator
from hvdtrain.train.models.network import make_model

hvd.init()
model = make_model(ModelSpec(name="small", image_size=8, classes=7), seed=1)
generator = np.random.default_rng(3)
images = generator.normal(size=(23, 8, 8, 3)).astype(np.float32)
labels = generator.integers(0, 7, 23)
shares = {1: [(0, 23)], 2: [(0, 16), (16, 23)], 3: [(0, 16), (16, 23), (23, 23)]}
start, stop = shares[hvd.size()][hvd.rank()]
batches = [
    (images[at : min(at + 5, stop)], labels[at : min(at + 5, stop)])
    for at in range(start, stop, 5)
]
result = Evaluator(model, hvd.size()).evaluate(batches)
print(json.dumps([result.count, result.top1, result.top5, result.loss]))
"""


@pytest.mark.ranks
def test_the_number_of_ranks_does_not_matter(tmp_path: Path) -> None:
    results = {
        ranks: [
            json.loads(text)
            for text in run_ranks(["-c", PROGRAM], tmp_path / str(ranks), ranks=ranks)
        ]
        for ranks in (1, 2, 3)
    }
    [alone] = results[1]
    assert alone[0] == 23
    assert 0 < alone[2] < 1
    for ranks in (2, 3):
        assert all(result == results[ranks][0] for result in results[ranks])
        assert results[ranks][0][:3] == alone[:3]
        assert results[ranks][0][3] == pytest.approx(alone[3], rel=1e-6)
