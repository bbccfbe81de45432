"""Values as lines of TOML; the standard library only reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec


def toml_lines(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each key whose value is text, a number, a truth value, or a list of them.

    Numbers with a fraction have six digits.
    """
    for key, value in values.items():
        yield f"{key} = {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    # A text or a list of TOML is written as one of JSON, where it holds no control characters.
    return msgspec.json.encode(value).decode()
