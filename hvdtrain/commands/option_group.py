"""Options that several commands share, as one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def option_group(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """A decorator that adds options to a command, in the order in which its help shows them."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add
