"""The network against the literature's parameter count and against another definition of it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.method.model import MODELS, ModelSpec

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.models.network import make_model  # noqa: E402

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def resnet50() -> Any:
    return make_model(ModelSpec())


def of_kind(model: Any, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("version", ["v1", "v1.5"])
def test_resnet50_has_the_parameters_of_the_literature(version: Literal["v1", "v1.5"]) -> None:
    model = make_model(ModelSpec(version=version))
    trained = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    assert trained == 25_557_032
    assert model.count_params() - trained == 53_120
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_the_registry_has_the_parameters_that_it_says(name: str) -> None:
    network = MODELS[name]
    spec = ModelSpec(name=name, image_size=network.image_size, classes=network.classes)
    model = make_model(spec)
    trained = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    assert trained == network.parameters
    assert model.output_shape == (None, network.classes)


def test_convolutions_have_no_bias(resnet50: Any) -> None:
    convolutions = of_kind(resnet50, tf.keras.layers.Conv2D)
    assert len(convolutions) == 53
    assert not any(layer.use_bias for layer in convolutions)


def test_batchnorm_is_the_papers(resnet50: Any) -> None:
    layers = of_kind(resnet50, tf.keras.layers.BatchNormalization)
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(0.95, 1e-5)}


@pytest.mark.parametrize(("name", "blocks"), [("resnet50", 16), ("small", 3)])
def test_every_block_starts_as_its_shortcut(
    name: Literal["resnet50", "small"], blocks: int
) -> None:
    model = make_model(ModelSpec(name=name, image_size=32, classes=10))
    joins = of_kind(model, tf.keras.layers.Add)
    last_of_block = [join._inbound_nodes[0].inbound_layers[1] for join in joins]
    zero = [
        layer
        for layer in of_kind(model, tf.keras.layers.BatchNormalization)
        if not layer.gamma.numpy().any()
    ]
    assert len(zero) == blocks
    assert {layer.name for layer in zero} == {layer.name for layer in last_of_block}


@pytest.mark.parametrize(("version", "strides"), [("v1", [2, 1, 1]), ("v1.5", [1, 2, 1])])
def test_version_decides_where_a_stage_strides(
    version: Literal["v1", "v1.5"], strides: list[int]
) -> None:
    model = make_model(ModelSpec(version=version, image_size=64))
    for stage in (3, 4, 5):
        first = [model.get_layer(f"stage{stage}_block1_{part}_conv") for part in (1, 2, 3)]
        assert [layer.strides[0] for layer in first] == strides
        assert model.get_layer(f"stage{stage}_block1_relu").output.shape[1] == 64 // 2**stage


def test_same_function_as_the_definition_in_keras() -> None:
    """With the same weights, and biases of zero, `keras.applications` computes the same."""
    ours = make_model(ModelSpec(image_size=64, classes=10))
    theirs = tf.keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    generator = np.random.default_rng(1)
    for layer in ours.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            weights = [generator.uniform(0.5, 1.0, part.shape) for part in weights]
            layer.set_weights(weights)
        other = theirs.get_layer(_name_in_keras(layer.name))
        extra = [np.zeros(part.shape) for part in other.get_weights()[len(weights) :]]
        other.set_weights([*weights, *extra])
    images = generator.normal(size=(2, 64, 64, 3)).astype(np.float32)
    expected = theirs(images, training=False).numpy()
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=2e-3, atol=1e-5)


def _name_in_keras(name: str) -> str:
    if name == "logits":
        return "predictions"
    return name.replace("stem", "conv1").replace("stage", "conv").replace("shortcut", "0")


def test_starting_weights_are_a_function_of_the_seed() -> None:
    spec = ModelSpec(name="small", image_size=8, classes=10)
    tf.random.set_seed(1)
    first = make_model(spec, seed=3).get_weights()
    tf.random.set_seed(2)
    again = make_model(spec, seed=3).get_weights()
    other = make_model(spec, seed=2**40).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [i for i, weights in enumerate(first) if weights.ndim > 1]
    assert not any(np.array_equal(first[i], other[i]) for i in kernels)


def test_no_two_kernels_of_a_network_start_alike(resnet50: Any) -> None:
    convolutions = of_kind(resnet50, tf.keras.layers.Conv2D)
    starts = {layer.kernel.numpy().ravel()[:64].tobytes() for layer in convolutions}
    assert len(starts) == len(convolutions)


def test_kernels_start_by_fan_out(resnet50: Any) -> None:
    kernel = resnet50.get_layer("stage5_block1_3_conv").kernel.numpy()
    assert kernel.shape == (1, 1, 512, 2048)
    assert kernel.std() == pytest.approx((2 / 2048) ** 0.5, rel=0.01)
    assert abs(kernel).max() > 4 * kernel.std()  # normal, not truncated
    classifier = resnet50.get_layer("logits").kernel.numpy()
    assert classifier.std() == pytest.approx(0.01, rel=0.01)


def test_bf16_computes_in_bf16_and_keeps_weights_and_logits_in_fp32() -> None:
    spec = ModelSpec(name="small", image_size=8, classes=10, precision="bf16")
    model = make_model(spec)
    half = [layer for layer in model.layers if layer.output.dtype == tf.bfloat16]
    assert {layer.name for layer in model.layers} - {layer.name for layer in half} == {
        "images",
        "pool",
        "logits",
    }
    assert {part.dtype for part in model.get_weights()} == {np.dtype(np.float32)}
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    images = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)
    logits = model(images, training=False)
    assert logits.dtype == tf.float32
    full = make_model(ModelSpec(name="small", image_size=8, classes=10))(images, training=False)
    np.testing.assert_allclose(logits, full, atol=0.03 * np.abs(full).max())


@pytest.mark.parametrize("image_size", [8, 9, 64])
def test_small_network_takes_small_images(image_size: int) -> None:
    model = make_model(ModelSpec(name="small", image_size=image_size, classes=3))
    logits = model(np.zeros((2, image_size, image_size, 3), np.float32), training=False)
    assert logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("image_size", {"name": "resnet50", "image_size": 31}),
        ("image_size", {"name": "small", "image_size": 65}),
        ("classes", {"classes": 1}),
        ("version", {"version": "v2"}),
        ("precision", {"precision": "fp16"}),
    ],
)
def test_a_spec_outside_its_range_is_named(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        ModelSpec(**values)
    assert caught.value.field == field
