"""Decode TOML and JSON into closed structs; say where and what when it does not fit."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hvdtrain.errors import InputError

T = TypeVar("T")
_AT = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)


class FieldError(ValueError):
    """What a struct's `__post_init__` raises for one of its fields; decoding adds where it is.

    Args:
        field: The field, or the path to it from the struct.
        value: What was given; None: nothing, though it is needed.
        allowed: What would have been accepted.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}: {allowed}")


def load_toml(path: Path, kind: type[T]) -> T:
    """The struct in a TOML file.

    Raises:
        InputError: The file cannot be read, is not TOML, or does not fit `kind`; the message
            names the file and the path to the field.
    """
    return decode_toml(_read(path), kind, str(path))


def decode_toml(text: str, kind: type[T], origin: str) -> T:
    """The struct in a TOML text; `origin` is what messages call it.

    Raises:
        InputError: Not TOML, or it does not fit `kind`.
    """
    try:
        raw = tomllib.loads(text)
    except ValueError as error:  # also a number of thousands of digits
        raise InputError(origin, "not TOML", str(error)) from None
    except RecursionError:
        raise InputError(
            origin, "not TOML", "tables and lists that are not nested so deep"
        ) from None
    return convert(raw, kind, origin)


def load_json(path: Path, kind: type[T]) -> T:
    """The struct in a JSON file.

    Raises:
        InputError: The file cannot be read, is not JSON, or does not fit `kind`.
    """
    return _fit(lambda: msgspec.json.decode(_read(path), type=kind), kind, str(path), None)


def convert(raw: object, kind: type[T], origin: str) -> T:
    """Plain dictionaries, lists and values as a struct.

    Raises:
        InputError: They do not fit `kind`.
    """
    return _fit(lambda: msgspec.convert(raw, type=kind), kind, origin, raw)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark in front
    except UnicodeDecodeError:
        raise InputError(str(path), "not text", "a file in UTF-8") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(str(path), reason, "a file that can be read") from None
    except ValueError as error:  # a path that no file can have
        raise InputError(str(path), str(error), "the path of a file") from None


def _fit(decode: Callable[[], T], kind: type[T], origin: str, raw: object) -> T:
    try:
        return decode()
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        reason = match["reason"] if match else str(error)
        path = (match["path"] if match else None) or "$"
        if isinstance(error.__cause__, FieldError):
            fault = error.__cause__
            field = f"{origin}: {_dotted(path, fault.field)}"
            raise InputError(field, fault.value, fault.allowed) from None
        unknown = re.search(r"unknown field `(.*?)`", reason)
        if unknown:
            legal = ", ".join(_legal_keys(kind, path))
            field = f"{origin}: {_dotted(path, unknown[1])}"
            raise InputError(field, unknown[1], f"the fields here are {legal}") from None
        if reason.startswith("Invalid enum value"):
            reason = f"one of {', '.join(_legal_values(kind, path))}"
        field = f"{origin}: {_dotted(path)}" if path != "$" else origin
        raise InputError(field, _value_at(raw, path), reason) from None
    except msgspec.DecodeError as error:
        raise InputError(origin, "not JSON", str(error)) from None


def _dotted(path: str, key: str = "") -> str:
    return ".".join(part for part in (path.removeprefix("$").removeprefix("."), key) if part)


def _steps(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", path.removeprefix("$"))


def _value_at(raw: object, path: str) -> object:
    value: Any = raw
    for step in _steps(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | tuple) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            break
    return "what is there" if isinstance(value, dict | list | tuple) or value is None else value


def _legal_keys(kind: type, path: str) -> list[str]:
    """The field names of the struct that `path` leads to; of all its candidates in a union."""
    candidates = _candidates(kind, path)
    return sorted({field.encode_name for each in candidates for field in _fields(each)})


def _legal_values(kind: type, path: str) -> list[str]:
    """The values of the literal that `path` leads to, and a number where one is legal too."""
    candidates = _candidates(kind, path)
    values = [str(value) for each in candidates for value in getattr(each, "values", ())]
    numeric = any(
        isinstance(each, msgspec.inspect.FloatType | msgspec.inspect.IntType) for each in candidates
    )
    return [*values, "a number"] if numeric else values


def _candidates(kind: type, path: str) -> tuple[Any, ...]:
    """The types that `path` leads to: one, or those of a union."""
    found: Any = msgspec.inspect.type_info(kind)
    for step in _steps(path):
        found = _descend(found, step)
    return _members(found)


def _members(info: Any) -> tuple[Any, ...]:
    """A type, or those of a union, without the descriptions around them."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    types = getattr(info, "types", None)
    return (info,) if types is None else tuple(each for one in types for each in _members(one))


def _fields(info: Any) -> tuple[Any, ...]:
    return tuple(getattr(info, "fields", ()))


def _descend(info: Any, step: str) -> Any:
    for candidate in _members(info):
        for field in _fields(candidate):
            if field.encode_name == step:
                return field.type
        for attribute in ("item_type", "value_type"):
            if hasattr(candidate, attribute):
                return getattr(candidate, attribute)
    return info
