"""What a training is, and the model that follows from it."""

from __future__ import annotations

import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.train_spec import TrainSpec, model_fields


@pytest.mark.parametrize(
    ("spec", "classes", "model"),
    [
        (TrainSpec(), 1000, ModelSpec()),
        (TrainSpec(), 100, ModelSpec(classes=100)),
        (TrainSpec(classes=200), 100, ModelSpec(classes=200)),
        (TrainSpec(model="small"), 10, ModelSpec(name="small", image_size=32, classes=10)),
        (
            TrainSpec(model="small", image_size=16, precision="bf16"),
            7,
            ModelSpec(name="small", image_size=16, classes=7, precision="bf16"),
        ),
        (TrainSpec(model_version="v1.5"), 1000, ModelSpec(version="v1.5")),
    ],
)
def test_the_model_follows_from_the_spec_and_the_data(
    spec: TrainSpec, classes: int, model: ModelSpec
) -> None:
    assert spec.model_for(classes) == model
    assert TrainSpec(**model_fields(model)).model_for(2) == model


def test_classes_of_unseen_data_are_those_of_the_network() -> None:
    assert TrainSpec().unseen_classes == 1000
    assert TrainSpec(model="small").unseen_classes == 10
    assert TrainSpec(model="small", classes=3).unseen_classes == 3


def test_an_image_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="8 to 64"):
        TrainSpec(model="small", image_size=224).model_for(10)
