"""Writes checkpoints in the background, one at a time, while the training goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable


class CheckpointWriter:
    """Calls what it is given in a thread, and keeps what went wrong until somebody asks.

    Args:
        cpus: Where the thread may run: the cores of the data threads, so that it takes nothing
            from the computation; empty: wherever this process may.
    """

    def __init__(self, cpus: Iterable[int] = ()) -> None:
        self._cpus = frozenset(cpus)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin a write when the one before is done.

        Raises:
            RunError: That one failed.
        """
        self.finish()
        self._thread = threading.Thread(target=self._run, args=(write,), name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Go on at once, unless a write has failed.

        Raises:
            RunError: It has.
        """
        if self._thread is None or not self._thread.is_alive():
            self.finish()

    def finish(self) -> None:
        """Wait until the write that is under way is done.

        Raises:
            RunError: It failed.
        """
        self.settle()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def settle(self) -> None:
        """Wait as `finish` does, where something else has failed already."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, write: Callable[[], None]) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)
        try:
            write()
        except BaseException as error:
            self._error = error
