"""What a person sees while a run goes on: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0
"""Seconds between two lines in a log."""


class Reporter(Protocol):
    """Tells a person how far the run is."""

    def step(self, step: int, epoch: int, loss: float, images_per_second: float) -> None:
        """After an update; `step` counts from 1."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def make_reporter(is_first: bool, total_steps: int) -> Reporter:
    """The reporter of a rank: only the first one speaks."""
    if not is_first:
        return Silence()
    console = Console(stderr=True)
    return Bar(console, total_steps) if console.is_terminal else Lines(total_steps)


class Silence:
    """Says nothing."""

    def step(self, step: int, epoch: int, loss: float, images_per_second: float) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing."""


class Lines(Silence):
    """A line every few seconds, for logs."""

    def __init__(self, total_steps: int) -> None:
        self._total_steps = total_steps
        self._next = time.monotonic()

    def step(self, step: int, epoch: int, loss: float, images_per_second: float) -> None:
        """A line when the last one is old enough, and for the last step."""
        now = time.monotonic()
        if now < self._next and step < self._total_steps:
            return
        self._next = now + LINE_SECONDS
        self.say(
            f"step {step}/{self._total_steps}  epoch {epoch}  loss {loss:.4f}  "
            f"{images_per_second:.1f} images/s"
        )

    def say(self, text: str) -> None:
        """A line on stderr."""
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A live bar with loss and speed, for terminals."""

    def __init__(self, console: Console, total_steps: int) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[speed]:.1f} images/s"),
            TimeRemainingColumn(),
            console=console,
            # It shares a core with the training.
            refresh_per_second=2,
        )
        self._task: TaskID = self._progress.add_task(
            "", total=total_steps, epoch=1, loss=0.0, speed=0.0
        )

    def step(self, step: int, epoch: int, loss: float, images_per_second: float) -> None:
        """Move the bar."""
        self._progress.update(
            self._task, completed=step, epoch=epoch, loss=loss, speed=images_per_second
        )

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
