"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hvdtrain.cli.config import config_folder
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import InputError
from hvdtrain.files.paths import absolute_path

Function = TypeVar("Function", bound=Callable[..., Any])


def option_group(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """A decorator that adds options to a command, in the order in which its help shows them."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


systems_option = click.option(
    "--systems-dir",
    type=PathType(),
    envvar="HVDTRAIN_SYSTEMS",
    help="Folder of your own system files; they take precedence. "
    "Default: ~/.config/hvdtrain/systems.",
)


def systems_folder(given: Path | None) -> Path:
    """The folder of the user's system files; it may not exist.

    Raises:
        InputError: A folder was given and is not there.
    """
    if given is not None:
        if not given.is_dir():
            raise InputError("--systems-dir", str(given), "a folder that exists")
        return Path(absolute_path("--systems-dir", given))
    return config_folder() / "systems"
