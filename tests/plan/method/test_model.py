"""The registry of networks, and what a model says of itself."""

from __future__ import annotations

import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.method.model import MODELS, ModelSpec
from hvdtrain.resources import resource_folder


@pytest.mark.parametrize("name", MODELS)
def test_a_network_is_built_where_the_registry_says(name: str) -> None:
    module, _, builder = MODELS[name].builder.partition(":")
    file = resource_folder("recipes").parent / "train" / "models" / f"{module}.py"
    assert f"\ndef {builder}(layers: Layers, images: Any) -> Any:\n" in file.read_text()


@pytest.mark.parametrize("name", MODELS)
def test_the_usual_sizes_of_a_network_are_legal(name: str) -> None:
    network = MODELS[name]
    spec = ModelSpec(name=name, image_size=network.image_size, classes=network.classes)
    assert spec.network is network


def test_a_label_has_the_version_where_there_are_several() -> None:
    assert ModelSpec().label == "resnet50-v1/224/1000/fp32"
    assert ModelSpec(name="small", image_size=32, classes=10).label == "small/32/10/fp32"


@pytest.mark.parametrize(
    ("name", "image_size", "nearest"),
    [("resnet50", 31, 32), ("resnet50", 1025, 1024), ("small", 7, 8), ("small", 65, 64)],
)
def test_each_network_has_its_own_sizes(name: str, image_size: int, nearest: int) -> None:
    with pytest.raises(InputError) as caught:
        ModelSpec(name=name, image_size=image_size)
    assert caught.value.field == "image_size"
    assert caught.value.fix.endswith(f" {nearest}")


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="one of resnet50, small"):
        ModelSpec(name="vgg")
