"""An update sees NaN and infinity wherever they are, whatever the loss alone would say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.optimizer import LambSpec, LarsSpec, SgdSpec

pytest.importorskip("horovod")
tf = pytest.importorskip("tensorflow")
from hvdtrain.train.models.network import make_model  # noqa: E402
from hvdtrain.train.optim.optimizer import make_optimizer  # noqa: E402
from hvdtrain.train.optim.weight_average import WeightAverage  # noqa: E402
from hvdtrain.train.reduction.mean import AllreduceMean  # noqa: E402
from hvdtrain.train.step import make_train_step  # noqa: E402

pytestmark = pytest.mark.tf

BATCH = 4
NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]


class Network:
    """A small network with its compiled step, and all values that it began with."""

    def __init__(self, precision: Any = "fp32", spec: Any = None, **options: Any) -> None:
        self.model = make_model(ModelSpec(name="small", image_size=8, precision=precision))
        self.optimizer = make_optimizer(spec or SgdSpec(), self.model.trainable_variables)
        average = WeightAverage(self.model.variables, 0.9) if options.pop("average", None) else None
        self.variables = {
            variable.name.split(":")[0]: variable
            for variable in [
                *self.model.variables,
                *self.optimizer.slots,
                *(average.slots if average else []),
            ]
        }
        reduce = options.pop("reduce", AllreduceMean(1))
        self.step = make_train_step(
            self.model,
            self.optimizer,
            reduce,
            rank_batch=BATCH,
            ranks=1,
            average=average,
            **options,
        )
        self._start = {name: variable.numpy() for name, variable in self.variables.items()}

    def restart(self) -> None:
        for name, value in self._start.items():
            self.variables[name].assign(value)

    def spoil(self, name: str, value: float) -> None:
        """Put one value into the middle of a variable."""
        array = self.variables[name].numpy()
        array.flat[array.size // 2] = value
        self.variables[name].assign(array)

    def update(self, images: Any = None) -> Any:
        return self.step(example() if images is None else images, np.arange(BATCH), 0.1, 1e-4)


def example(value: float | None = None) -> Any:
    """Images, one pixel of which has this value."""
    images = np.random.default_rng(3).normal(size=(BATCH, 8, 8, 3)).astype(np.float32)
    if value is not None:
        images[2, 5, 5, 1] = value
    return images


def found(result: Any) -> tuple[bool, bool, str]:
    """Whether loss and rank loss are finite, and what is not."""
    loss, rank_loss = (bool(np.isfinite(float(loss))) for loss in (result.loss, result.rank_loss))
    return loss, rank_loss, result.not_finite.numpy().decode()


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def compiled(request: pytest.FixtureRequest) -> Network:
    return Network(request.param)


@pytest.fixture
def network(compiled: Network) -> Iterator[Network]:
    compiled.restart()
    yield compiled
    compiled.restart()


def test_a_healthy_update_finds_nothing(network: Network) -> None:
    for _ in range(3):
        assert found(network.update()) == (True, True, "")


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    "name",
    [
        "stem_conv/kernel",
        "stage3_block1_2_conv/kernel",
        "logits/kernel",
        "logits/bias",
        "stem_bn/gamma",
        "stage2_block1_1_bn/beta",
        "stem_bn/moving_mean",
        "stage4_block1_2_bn/moving_variance",
        "stem_conv/kernel/momentum",
        "logits/bias/momentum",
    ],
)
def test_one_value_of_a_variable_is_found_in_the_next_update(
    network: Network, name: str, value: float
) -> None:
    network.spoil(name, value)
    assert found(network.update()) == (False, False, name)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_one_pixel_is_found(network: Network, value: float) -> None:
    assert found(network.update(example(value))) == (False, False, "the images")


def test_weights_that_an_update_has_made_infinite_are_found_in_the_next(network: Network) -> None:
    network.step(example(), np.arange(BATCH), 3e38, 0.0)
    network.step(example(), np.arange(BATCH), 3e38, 0.0)
    assert not np.isfinite(network.variables["logits/kernel"].numpy()).all()
    finite_loss, _, where = found(network.update())
    assert not finite_loss
    assert where.endswith(("/kernel", "/gamma", "/beta", "/bias"))


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    ("spec", "average", "slots"),
    [
        (SgdSpec(nesterov=True), False, ["stem_bn/gamma/momentum"]),
        (LarsSpec(), False, ["stem_conv/kernel/momentum"]),
        (LambSpec(clip_norm=1.0), False, ["stem_conv/kernel/mean", "logits/kernel/square"]),
        (SgdSpec(), True, ["stem_conv/kernel/average", "stem_bn/moving_mean/average"]),
    ],
)
def test_every_kind_of_slot_is_looked_at(
    spec: Any, average: bool, slots: list[str], value: float
) -> None:
    network = Network(spec=spec, average=average)
    assert found(network.update()) == (True, True, "")
    for name in slots:
        network.restart()
        network.spoil(name, value)
        assert found(network.update()) == (False, False, name)


def test_a_batch_that_was_added_before_counts() -> None:
    network = Network(accumulate=2)
    network.step.add(example(float("nan")), np.arange(BATCH))
    finite_loss, _, where = found(network.update())
    assert not finite_loss
    assert where == "stem_bn/moving_mean"
    network.restart()
    network.step.add(example(), np.arange(BATCH))
    assert found(network.update()) == (True, True, "")


def test_means_beyond_float32_are_seen_in_the_gradient_norm() -> None:
    """Every rank's own gradients are finite, and so is the loss."""
    network = Network(reduce=lambda gradients: [gradient * 3e38 for gradient in gradients])
    result = network.update()
    assert found(result) == (True, True, "the mean gradient of logits/bias")
    assert float(result.gradient_norm) == np.inf


def test_the_gradient_norm_is_that_of_all_gradients() -> None:
    network = Network()
    with tf.GradientTape() as tape:
        logits = network.model(example(), training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(np.arange(BATCH), logits)
        loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, network.model.trainable_variables)
    exact = np.sqrt(sum((gradient.numpy().astype(np.float64) ** 2).sum() for gradient in gradients))
    assert float(network.update().gradient_norm) == pytest.approx(exact, rel=1e-3)
