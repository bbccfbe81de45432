"""Decides with all ranks when a checkpoint is written, and when the run stops.

Every rank tells its vote when a step begins and hears the largest of all wishes when the step has
ended. The exchange is under way during the step, so it takes no time of its own, and its answer is
the same everywhere: all ranks stop after the same step, whoever got the signal, and whenever.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hvdtrain.train.checkpoint.interrupt import Interrupted, SignalNote

GO_ON = 0
SAVE = 1
# A signal's number is added to this.
STOP = 2


class Agreement(Protocol):
    """Finds the largest of the numbers that the ranks propose."""

    def propose(self, number: int) -> None:
        """Start; does not wait."""

    def result(self) -> int:
        """The largest number of the last proposal, on every rank. Waits for all of them."""


class Writing(Protocol):
    """A write that goes on in the background."""

    def check(self) -> None:
        """Raise what has gone wrong, if anything; does not wait."""

    def finish(self) -> None:
        """Wait until it is done; raise what has gone wrong."""


@dataclass(frozen=True)
class CheckpointInterval:
    """When checkpoints are written.

    Attributes:
        seconds: At the latest after this time, above 0.
        epochs: After every so many epochs, 1 or more.
    """

    seconds: float
    epochs: int


class CheckpointCoordinator:
    """Called by the training loop, by all ranks alike.

    Args:
        interval: When to save.
        agreement: Over all ranks.
        note: Where this rank's signal appears.
        stop_asked: Whether this rank has been asked to stop in another way.
        save: Begins to write a checkpoint. Collective.
        writing: The write that it has begun.
        keeps_time: Whether this rank's clock decides; that of one rank must.
    """

    def __init__(
        self,
        interval: CheckpointInterval,
        agreement: Agreement,
        note: SignalNote,
        stop_asked: Callable[[], bool],
        save: Callable[[], None],
        writing: Writing,
        keeps_time: bool,
    ) -> None:
        self._interval = interval
        self._agreement = agreement
        self._note = note
        self._stop_asked = stop_asked
        self._save = save
        self._writing = writing
        self._keeps_time = keeps_time
        self._saved = time.monotonic()

    def step_begins(self) -> None:
        """Before every step."""
        self._agreement.propose(self._vote())

    def step_ends(self) -> None:
        """After every step.

        Raises:
            Interrupted: A rank was asked to stop. The checkpoint is there.
            RunError: A checkpoint could not be written.
        """
        self._writing.check()
        vote = self._agreement.result()
        if vote == GO_ON:
            return
        self._save_now()
        if vote >= STOP:
            self._writing.finish()
            asked = signal.Signals(vote - STOP).name if vote > STOP else "its stop file"
            raise Interrupted(f"the run was ended by {asked}; it can be continued")

    def epoch_ends(self, epoch: int) -> None:
        """After the evaluation of every epoch, counted from 1, but the last one's."""
        if epoch % self._interval.epochs == 0:
            self._save_now()

    def _vote(self) -> int:
        if self._note.number is not None:
            return STOP + self._note.number
        if self._stop_asked():
            return STOP
        due = time.monotonic() - self._saved >= self._interval.seconds
        return SAVE if due and self._keeps_time else GO_ON

    def _save_now(self) -> None:
        self._save()
        self._saved = time.monotonic()
