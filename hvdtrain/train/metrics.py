"""Where the lines of a run's metrics go: metrics.jsonl, and TensorBoard when it is wanted."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine

if TYPE_CHECKING:
    from hvdtrain.train.tensorboard import EventFiles

WRITE_SECONDS = 2.0
"""Between two writes: on a shared file system one may take as long as a small update."""

Write = Callable[[Sequence[MetricsLine]], None]


class MetricsLog:
    """Keeps lines in memory, and a thread that writes all that are there every few seconds.

    Args:
        write: Writes some lines behind those that it has written before.
        seconds: Between two writes.
        cpus: Where the thread may run, as for checkpoints; empty: wherever this process may.
    """

    def __init__(self, write: Write, seconds: float, cpus: Iterable[int] = ()) -> None:
        self._write = write
        self._seconds = seconds
        self._cpus = frozenset(cpus)
        self._lines: queue.SimpleQueue[MetricsLine] = queue.SimpleQueue()
        self._writing = threading.Lock()
        self._error: Exception | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def add(self, line: MetricsLine) -> None:
        """Keep a line; does not wait.

        Raises:
            RunError: Lines before it could not be written.
        """
        if self._error is not None:
            raise self._error
        self._lines.put(line)

    def flush(self) -> None:
        """Write what was added before. Returns when it is in the file.

        Raises:
            RunError: It cannot be written.
        """
        # Held from the first line to the last byte, so that the order of the lines stays.
        with self._writing:
            if self._error is not None:
                raise self._error
            lines = [self._lines.get() for _ in range(self._lines.qsize())]
            try:
                if lines:
                    self._write(lines)
            except Exception as error:
                self._error = error
                raise

    def close(self) -> None:
        """Write what is left and end the thread.

        Raises:
            RunError: It cannot be written.
        """
        self._closed.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._cpus)
        while not self._closed.wait(self._seconds):
            # Raised by whatever comes next in the thread that trains.
            with contextlib.suppress(Exception):
                self.flush()


@contextlib.contextmanager
def open_metrics(
    folder: RunFolder, *, tensorboard: bool, cpus: Iterable[int] = ()
) -> Iterator[MetricsLog]:
    """The log of a run, on the one rank that keeps it. At the end all its lines are written.

    Args:
        folder: Of the run, where metrics.jsonl grows.
        tensorboard: Whether to write TensorBoard's event files as well.
        cpus: See `MetricsLog`.

    Raises:
        RunError: The last lines cannot be written, and nothing else has failed before.
    """
    events: EventFiles | None = None
    if tensorboard:
        # It imports TensorFlow, which nothing else here needs.
        from hvdtrain.train.tensorboard import EventFiles

        events = EventFiles(folder.path / "tensorboard")

    def write(lines: Sequence[MetricsLine]) -> None:
        folder.append(*lines)
        if events is not None:
            events.write(lines)

    log = MetricsLog(write, WRITE_SECONDS, cpus)
    try:
        yield log
    except BaseException:
        # What failed first is what matters.
        with contextlib.suppress(Exception):
            log.close()
        raise
    else:
        log.close()
    finally:
        if events is not None:
            events.close()
