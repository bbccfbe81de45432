"""The running mean of the weights, and who sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hvdtrain.plan.method.model import ModelSpec
from tests.ranks import run_ranks

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.models.network import make_model  # noqa: E402
from hvdtrain.train.optim.weight_average import WeightAverage  # noqa: E402

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_is_the_weighted_mean_of_the_values_after_each_update(decay: float) -> None:
    variable = tf.Variable([1000.0, -1000.0], dtype=tf.float64)
    average = WeightAverage([variable], decay)
    add = tf.function(average.add)
    seen: list[list[float]] = []
    for step in range(30):
        seen.append([np.cos(step), step**1.5])
        variable.assign(seen[-1])
        add()
        shares = decay ** np.arange(step, -1, -1.0)
        expected = shares @ np.array(seen) / shares.sum()
        np.testing.assert_allclose(average.slots[0].numpy(), expected, rtol=1e-9)


def test_is_in_place_for_a_while_and_keeps_what_is_changed_there() -> None:
    variable = tf.Variable([4.0])
    average = WeightAverage([variable], 0.5)
    average.add()
    variable.assign([1.0])
    average.add()
    with average.in_place():
        assert variable.numpy().tolist() == [2.0]
        variable.assign([3.0])
    assert variable.numpy().tolist() == [1.0]
    with average.in_place():
        assert variable.numpy().tolist() == [3.0]


def test_the_variables_come_back_after_an_error() -> None:
    variable = tf.Variable([4.0])
    average = WeightAverage([variable], 0.5)
    average.add()
    variable.assign([1.0])
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    assert variable.numpy().tolist() == [1.0]


def test_a_bf16_network_is_averaged_in_float32() -> None:
    model = make_model(ModelSpec(name="small", image_size=8, classes=4, precision="bf16"))
    average = WeightAverage(model.variables, 0.9)
    assert {slot.dtype for slot in average.slots} == {tf.float32, tf.int64}
    before = model.get_weights()
    average.add()
    with average.in_place():
        for now, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, old)


def test_slots_carry_the_whole_state() -> None:
    variable = tf.Variable([1.0, 2.0])
    first, second = WeightAverage([variable], 0.7), WeightAverage([variable], 0.7)
    for value in ([3.0, 1.0], [2.0, 5.0]):
        variable.assign(value)
        first.add()
    for slot, kept in zip(second.slots, first.slots, strict=True):
        slot.assign(kept)
    variable.assign([9.0, -1.0])
    first.add()
    second.add()
    np.testing.assert_array_equal(first.slots[0].numpy(), second.slots[0].numpy())


# Rank 1 starts from other weights, other averages and another count.
APART = """
import json
import horovod.tensorflow as hvd
import tensorflow as tf
from hvdtrain.train.optim.weight_average import WeightAverage
from hvdtrain.train.reduction.mean import broadcast_state

hvd.init()
variable = tf.Variable([1.0 + 10.0 * hvd.rank()])
average = WeightAverage([variable], 0.9)
for _ in range(3 + 4 * hvd.rank()):
    average.add()
broadcast_state([variable, *average.slots], 2)
variable.assign([2.0])
average.add()
print(json.dumps([slot.numpy().tolist() for slot in average.slots]))
"""


@pytest.mark.ranks
def test_two_ranks_average_alike_after_the_broadcast(tmp_path: Path) -> None:
    first, second = (json.loads(text) for text in run_ranks(["-c", APART], tmp_path / "out"))
    assert first == second
    [mean], updates = first
    assert updates == 4
    shares = 0.9 ** np.arange(3, -1, -1.0)
    assert mean == pytest.approx(shares @ [1, 1, 1, 2] / shares.sum(), rel=1e-6)
