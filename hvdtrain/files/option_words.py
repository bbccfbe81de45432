"""The fields of a struct as the options of a command, and their values as its words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection

import msgspec
from msgspec.structs import FieldInfo


@functools.cache
def ordered_fields(kind: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a struct: what its own class adds, then what it inherits, in their order."""
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    ordered: list[FieldInfo] = []
    for each in reversed(kind.__mro__):
        added = [known.pop(name) for name in inspect.get_annotations(each) if name in known]
        ordered = added + ordered
    return tuple(ordered)


def field_names(kind: type[msgspec.Struct]) -> set[str]:
    """The names of the fields of a struct."""
    return set(kind.__struct_fields__)


def option_name(field: str) -> str:
    """What the command line calls a field."""
    return "--" + field.replace("_", "-")


def option_words(
    options: msgspec.Struct, fields: Collection[str], always: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """The words of a command line that give these options: `("--seed", "3")`, `("--no-attest",)`.

    Args:
        options: Their values.
        fields: Those that the command takes.
        always: Those that are said though they have their default.
    """
    words: list[tuple[str, ...]] = []
    for field in ordered_fields(type(options)):
        value = getattr(options, field.name)
        usual = value == field.default and field.name not in always
        if field.name not in fields or value is None or usual:
            continue
        option = option_name(field.name)
        if isinstance(value, bool):
            words.append((option if value else option.replace("--", "--no-", 1),))
        else:
            words.append((option, as_word(value)))
    return words


def as_word(value: object) -> str:
    """A value as the command line writes it."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
