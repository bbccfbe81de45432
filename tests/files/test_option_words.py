"""The words that give a training to the ranks, and the order of its options."""

from __future__ import annotations

import pytest

from hvdtrain.files.option_words import as_word, field_names, option_words, ordered_fields
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.method.train_spec import TrainSpec


def words(spec: TrainSpec, *always: str) -> list[tuple[str, ...]]:
    return option_words(spec, field_names(TrainSpec), always)


def test_only_what_differs_from_the_default_becomes_a_word() -> None:
    assert words(TrainSpec()) == []
    spec = TrainSpec(seed=3, steps=100, precision="bf16", checkpoint_minutes=7.5)
    assert words(spec) == [
        ("--steps", "100"),
        ("--precision", "bf16"),
        ("--seed", "3"),
        ("--checkpoint-minutes", "7.5"),
    ]


def test_a_switch_is_one_word() -> None:
    assert words(TrainSpec(attest=False, tensorboard=True)) == [
        ("--no-attest",),
        ("--tensorboard",),
    ]


def test_what_is_always_said_is_said_with_its_default() -> None:
    assert words(TrainSpec(), "images_per_epoch") == [("--images-per-epoch", "1281167")]
    # There is nothing to say of what has no value.
    assert words(TrainSpec(), "recipe") == []


@pytest.mark.parametrize(
    ("value", "word"), [(15.0, "15"), (2.5, "2.5"), (1.23456789, "1.23456789"), (32, "32")]
)
def test_a_number_keeps_all_its_digits(value: float, word: str) -> None:
    assert as_word(value) == word


def test_own_fields_come_before_inherited_ones_and_each_once() -> None:
    names = [field.name for field in ordered_fields(JobRequest)]
    assert sorted(names) == sorted(JobRequest.__struct_fields__)
    assert names[:2] == ["nodes", "system"]
    assert names.index("walltime") < names.index("accumulate")
    # A field that a class only describes anew stays where it was.
    training = [field.name for field in ordered_fields(TrainSpec)]
    assert names[-len(training) :] == training
