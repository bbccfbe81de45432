"""Options of the command line from the fields of a struct: type, range, default and help."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

import click
import msgspec
from msgspec.structs import FieldInfo

from hvdtrain.cli.completion import complete_recipe, complete_run, complete_system
from hvdtrain.cli.path_type import PathType
from hvdtrain.files.option_words import as_word, option_name, ordered_fields

# What a shell proposes, by the field.
_COMPLETIONS = {
    "system": complete_system,
    "recipe": complete_recipe,
    "run_id": complete_run,
}

Struct = TypeVar("Struct", bound=msgspec.Struct)
Option = Callable[[Any], Any]


class _NumberRange(click.FloatRange):
    """A range without NaN, which is neither below nor above its ends."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def struct_options(
    kind: type[msgspec.Struct],
    fields: Collection[str] | None = None,
    *,
    spellings: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> list[Option]:
    """Decorators that add an option for each field.

    An option that is not given is None: `make_struct` leaves it to the struct, so that a file's
    value is not overruled by a default. A bool is a pair such as `--attest/--no-attest`.

    Args:
        kind: The struct whose fields become options.
        fields: Of these, in the struct's own order; None: of all.
        spellings: Another spelling of an option, such as Slurm's `-N`, by the field.
        defaults: What the help says of the default in place of the struct's own, by the field.
    """
    return [
        _option(field, (spellings or {}).get(field.name), (defaults or {}).get(field.name))
        for field in ordered_fields(kind)
        if fields is None or field.name in fields
    ]


def make_struct(kind: type[Struct], options: Mapping[str, Any]) -> Struct:
    """The struct of the options that were given; the others have their defaults."""
    return kind(**{name: value for name, value in options.items() if value is not None})


def _option(field: FieldInfo, spelling: str | None, default: str | None) -> Option:
    kind, limits, text = _unwrap(field.type)
    if default is None and field.default not in (None, msgspec.NODEFAULT):
        default = ("on" if field.default else "off") if kind is bool else as_word(field.default)
    name = option_name(field.name)
    if kind is bool:
        name = f"{name}/{name.replace('--', '--no-', 1)}"
    return click.option(
        name,
        *((spelling,) if spelling else ()),
        field.name,
        type=_click_type(kind, limits),
        default=None,
        shell_complete=_COMPLETIONS.get(field.name),
        help=text if default is None else f"{text} Default: {default}.",
    )


def _unwrap(annotation: Any) -> tuple[Any, dict[str, Any], str]:
    """The type of one word, its limits as `click.IntRange` calls them, and the description."""
    limits: dict[str, Any] = {}
    text = ""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            for meta in annotation.__metadata__:
                limits |= _limits(meta)
                text = meta.description or text
            annotation = annotation.__origin__
        elif origin in (Union, types.UnionType):
            (annotation,) = filter(_fits_a_word, typing.get_args(annotation))
        else:
            return annotation, limits, text


def _fits_a_word(kind: Any) -> bool:
    """Whether a type of a union can stand on the command line: neither None nor a file's table."""
    return not (isinstance(kind, type) and issubclass(kind, types.NoneType | msgspec.Struct))


def _limits(meta: msgspec.Meta) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for value, bound, is_open in (
        (meta.ge, "min", False),
        (meta.gt, "min", True),
        (meta.le, "max", False),
        (meta.lt, "max", True),
    ):
        if value is not None:
            limits |= {bound: value, f"{bound}_open": is_open}
    return limits


def _click_type(kind: Any, limits: Mapping[str, Any]) -> click.ParamType[Any] | None:
    if typing.get_origin(kind) is Literal:
        return click.Choice(typing.get_args(kind))
    if kind is int:
        return click.IntRange(**limits)
    if kind is float:
        return _NumberRange(**limits)
    if kind is Path:
        return PathType()
    return None
