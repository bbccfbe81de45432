"""Grouping on its own, and the collective functions on two real ranks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ranks import run_ranks

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.reduction.mean import (  # noqa: E402
    AllreduceMean,
    allreduce_mean,
    allreduce_sum,
    average_over_ranks,
    group_from_the_end,
)

pytestmark = pytest.mark.tf


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(1, 120))
def test_groups_hold_every_tensor_once_last_first(sizes: list[int], bound: int) -> None:
    groups = group_from_the_end(sizes, bound)
    assert [index for group in groups for index in group] == list(reversed(range(len(sizes))))
    for group in groups:
        assert len(group) == 1 or sum(sizes[index] for index in group) <= bound


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(1, 120))
def test_no_two_neighbouring_groups_fit_in_one(sizes: list[int], bound: int) -> None:
    groups = group_from_the_end(sizes, bound)
    for group, after in itertools.pairwise(groups):
        assert sum(sizes[index] for index in group) + sizes[after[0]] > bound


def test_one_rank_is_the_identity() -> None:
    gradients = [tf.constant([1.0, 2.0]), tf.constant(3.0)]
    assert [a is b for a, b in zip(AllreduceMean(1)(gradients), gradients, strict=True)] == [1, 1]
    assert allreduce_mean(gradients[1], 1, "loss") is gradients[1]
    variable = tf.Variable(5.0)
    average_over_ranks([variable], 1)
    assert variable.numpy() == 5.0
    assert allreduce_sum(np.array([1.0, 2.0]), 1).tolist() == [1.0, 2.0]


PROGRAM = """
import itertools
import json
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.train.models.batchnorm import average_batchnorm, moving_statistics
from hvdtrain.train.models.network import make_model
from hvdtrain.train.reduction.mean import (
    AllreduceMean,
    broadcast_state,
    allreduce_mean,
    allreduce_sum,
)

hvd.init()
rank, ranks = hvd.rank(), hvd.size()
shapes = [[3, 3, 16], [16], [1000], [7, 5], []]
generator = np.random.default_rng(rank)
gradients = [tf.constant(generator.normal(size=shape), tf.float32) for shape in shapes]
# Three groups: [4, 3], [2], [1, 0].
reduce = AllreduceMean(ranks, most_bytes=1000)
first, again = [
    [mean.numpy().tolist() for mean in tf.function(reduce)(gradients)] for _ in range(2)
]

model = make_model(ModelSpec(name="small", image_size=8, classes=4), seed=rank)
for index, statistic in enumerate(moving_statistics(model)):
    statistic.assign(tf.fill(statistic.shape, float(index + 10 * rank)))
average_batchnorm(model, ranks)
statistics = [sorted(set(s.numpy().ravel().tolist())) for s in moving_statistics(model)]

broadcast_state(model.variables, ranks)
print(json.dumps({
    "ranks": ranks,
    "gradients": [gradient.numpy().tolist() for gradient in gradients],
    "means": first,
    "again": again,
    "statistics": statistics,
    "weights": float(sum(np.abs(w).sum() for w in model.get_weights())),
    "mean": float(allreduce_mean(tf.constant(1.0 + rank), ranks, "value")),
    "counts": allreduce_sum(np.array([2.0**52 + rank, rank, 0.5]), ranks).tolist(),
}))
"""


@pytest.mark.ranks
def test_two_ranks(tmp_path: Path) -> None:
    outputs = run_ranks(["-c", PROGRAM], tmp_path / "out")
    first, second = (json.loads(output) for output in outputs)
    assert first["ranks"] == second["ranks"] == 2
    for index, (a, b) in enumerate(zip(first["gradients"], second["gradients"], strict=True)):
        expected = (np.float32(a) + np.float32(b)) / np.float32(2)
        np.testing.assert_array_equal(np.float32(first["means"][index]), expected)
    assert first["means"] == second["means"] == first["again"]
    # Statistic i is i on the one rank and i + 10 on the other.
    assert first["statistics"] == [[index + 5.0] for index in range(len(first["statistics"]))]
    assert second["statistics"] == first["statistics"]
    assert first["weights"] == second["weights"]
    assert first["mean"] == second["mean"] == 1.5
    assert first["counts"] == second["counts"] == [2.0**53 + 1 - 1 + 1, 1.0, 1.0]
