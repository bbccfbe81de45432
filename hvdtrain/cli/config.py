"""The user's own defaults: a file in ~/.config/hvdtrain, read and written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.files.atomic import run_errors, write_output
from hvdtrain.files.decode import convert, load_toml
from hvdtrain.files.fields import Line, Name, Word
from hvdtrain.files.paths import absolute_path, expand_path
from hvdtrain.files.toml import toml_lines

FILE = "config.toml"
SYNTHETIC_DATA = "synthetic"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds where neither an option, nor a job file, nor a variable of sbatch says something.

    None: nothing. The file has these fields as its keys.
    """

    system: Annotated[Name | None, Meta(description="The cluster.")] = None
    account: Annotated[Word | None, Meta(description="Slurm's account.")] = None
    partition: Annotated[
        Word | None, Meta(description="Partition or QOS of the system's file.")
    ] = None
    qos: Annotated[Word | None, Meta(description="Slurm's QOS.")] = None
    data: Annotated[Line | None, Meta(description="Folder of the training data.")] = None
    results: Annotated[Line | None, Meta(description="Folder of all runs.")] = None
    mail_user: Annotated[Line | None, Meta(description="Who gets Slurm's mail.")] = None
    mail_type: Annotated[Line | None, Meta(description="What it is sent for: END,FAIL.")] = None


def config_folder() -> Path:
    """The folder of the user's own files; it may not exist."""
    above = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(above) / "hvdtrain"


def load_config() -> Config:
    """The user's defaults; without a file, none.

    Raises:
        InputError: The file does not fit.
    """
    path = config_folder() / FILE
    return load_toml(path, Config) if path.is_file() else Config()


def with_value(config: Config, key: str, value: str | None) -> Config:
    """The defaults with another value of a key; None: with none.

    Paths become whole: the next command may be called in another folder.

    Raises:
        InputError: The value does not fit.
    """
    if value is not None and key in ("data", "results") and value != SYNTHETIC_DATA:
        value = absolute_path(key, expand_path(key, value))
    given = {**msgspec.to_builtins(config), key: value}
    return convert(given, Config, FILE)


def save_config(config: Config) -> Path:
    """Write the user's defaults, and return the path of the file.

    Raises:
        InputError: It cannot be written.
        RunError: Its folder cannot be made.
    """
    path = config_folder() / FILE
    given = msgspec.to_builtins(config)
    lines = toml_lines({key: value for key, value in given.items() if value is not None})
    with run_errors(f"the folder {path.parent} cannot be made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_output(path, "".join(f"{line}\n" for line in lines), "config")
    return path


def default_results() -> Path:
    """The folder of all runs where no option names one."""
    return Path(load_config().results or "results")
