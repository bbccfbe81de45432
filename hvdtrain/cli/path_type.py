"""The type of the options and arguments that are paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hvdtrain.files.paths import expand_path


class PathType(click.Path):
    """A `pathlib.Path`, as `expand_path` reads it."""

    def __init__(self, **limits: bool) -> None:
        super().__init__(path_type=Path, **limits)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, when it is one that the option takes."""
        if isinstance(value, str):
            value = expand_path(_name(param), value)
        return super().convert(value, param, ctx)


def _name(param: click.Parameter | None) -> str:
    if param is None:
        return "path"
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.opts[0].upper()
