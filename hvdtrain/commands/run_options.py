"""The options of everything that trains: train and collapse share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(0, min_open=True),
        default=15.0,
        show_default=True,
        help="Write a checkpoint at least this often.",
    ),
    click.option(
        "--checkpoint-epochs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Write one after every so many epochs, too.",
    ),
    click.option(
        "--no-attest",
        is_flag=True,
        help="Go on though threads are not on the cores that the core map has for them.",
    ),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files as well."),
)


def run_options(function: Function) -> Function:
    """Add the options, in the order in which the help shows them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
