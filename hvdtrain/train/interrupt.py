"""Signals that end a run in order: SIGTERM and SIGUSR1 from a scheduler, SIGINT from a person.

A handler only takes note. The ranks get a signal at different times, or only one of them gets it,
so they agree on a last step (see `keeper`), write a checkpoint and leave together.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

INTERRUPTED_EXIT_CODE = 85
"""The run has a checkpoint and asks to be started again."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(BaseException):
    """The ranks have stopped because a signal asked them to.

    No `except Exception` on the way can swallow it.
    """


class SignalNote:
    """The signal that this process has got.

    Attributes:
        number: Of the first one; None: none yet.
    """

    def __init__(self) -> None:
        self.number: int | None = None


@contextlib.contextmanager
def signals_noted(speaks: bool) -> Iterator[SignalNote]:
    """Inside, a signal is noted and nothing else happens.

    Args:
        speaks: Whether to tell a person that it was.
    """
    note = SignalNote()

    def take_note(number: int, frame: FrameType | None) -> None:
        del frame
        if note.number is None and speaks:
            name = signal.Signals(number).name
            # Python's own streams may be in the middle of a line.
            os.write(2, f"hvdtrain: {name}: the run ends after the next step\n".encode())
        note.number = note.number or number

    before = {number: signal.signal(number, take_note) for number in SIGNALS}
    try:
        yield note
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
