"""Signals that end a run in order: SIGTERM from a scheduler, SIGINT from a person."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """A signal asked this run to end. No `except Exception` on the way can swallow it."""


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Inside, SIGTERM and SIGINT raise `Interrupted` between two operations of Python."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        raise Interrupted(f"the run was ended by {signal.Signals(number).name}")

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
