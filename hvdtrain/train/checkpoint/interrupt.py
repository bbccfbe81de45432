"""What ends a run in order: SIGTERM and SIGUSR1 from a scheduler, SIGINT from a person, a file.

A handler only takes note. The ranks get a signal at different times, or only one of them gets it,
so they agree on a last step (see `coordinator`), write a checkpoint and leave together. A job's
script uses the file, because launchers do different things with a signal: srun passes SIGUSR1 on,
Intel's mpirun dies of it and leaves its ranks alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

INTERRUPTED_EXIT_CODE = 85
"""The run has a checkpoint and asks to be started again."""

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(BaseException):
    """The ranks have stopped because a signal asked them to.

    No `except Exception` on the way can swallow it.
    """


class StopFile:
    """A file that asks the run to stop by being there.

    Args:
        path: Where the file would be.
        seconds: How often it is looked for, at most: the folder may be on the other side of a
            network, and a step may take a few milliseconds.
    """

    def __init__(self, path: Path, seconds: float = 1.0) -> None:
        self._path = path
        self._seconds = seconds
        self._next = time.monotonic()

    def is_there(self) -> bool:
        """Whether it is, as far as it was looked for."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return self._path.exists()


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
