"""Kinds of numbers: their ends, and that each has one name in one module."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

import hvdtrain
from hvdtrain.files import numbers

PACKAGE = Path(hvdtrain.__file__).parent


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("Count", (0, 10**12), (-1,)),
        ("PositiveInt", (1, 10**12), (0,)),
        ("WrittenCount", (0, 10_000_000), (-1, 10_000_001)),
        ("WrittenPositiveInt", (1, 10_000_000), (0, 10_000_001)),
        ("NonNegativeFloat", (0.0, 1e300), (-1e-9,)),
        ("PositiveFloat", (1e-300,), (0.0,)),
        ("Fraction", (0.0, 1.0), (-0.1, 1.1)),
        ("FractionBelowOne", (0.0, 0.999), (-0.1, 1.0)),
        ("Percent", (0.0, 100.0), (-0.1, 100.1)),
        ("LearningRate", (0.0, 1000.0), (-0.1, 1000.1)),
        ("PositiveFactor", (1e-9, 1000.0), (0.0, 1000.1)),
        ("Epochs", (1e-9, 10_000.0), (0.0, 10_000.1)),
        ("WrittenSeconds", (0.0, 1e6), (-0.1, 1.1e6)),
    ],
)
def test_the_ends_of_a_kind(kind: str, good: tuple[float, ...], bad: tuple[float, ...]) -> None:
    type_: Any = getattr(numbers, kind)
    for value in good:
        assert msgspec.convert(value, type_) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, type_)


def test_no_other_module_names_a_kind_of_number() -> None:
    named = [
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.value).startswith(("Annotated[int", "Annotated[float"))
        and path.name != "numbers.py"
    ]
    assert named == []
