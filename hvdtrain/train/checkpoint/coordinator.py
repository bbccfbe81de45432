"""Decides with all ranks when a checkpoint is written, and when the run stops.

Every rank tells its vote when a step begins and hears the largest of all wishes when the step has
ended. The exchange is under way during the step, so it takes no time of its own, and its answer is
the same everywhere: all ranks stop after the same step, whoever got the signal, and whenever.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hvdtrain.train.checkpoint.interrupt import Interrupted, SignalNote, StopFile
from hvdtrain.train.checkpoint.writer import CheckpointWriter

if TYPE_CHECKING:
    from hvdtrain.train.process.world import RankAgreement

GO_ON = 0
SAVE = 1
# A signal's number is added to this.
STOP = 2


class CheckpointCoordinator:
    """Called by the training loop, by all ranks alike.

    Args:
        agreement: Over all ranks.
        note: Where this rank's signal appears.
        stop: The file that asks the run to stop, on the one rank that looks for it and whose clock
            decides when a checkpoint is due; None on the others.
        writer: Writes what `save` has begun.
        save: Begins to write a checkpoint. Collective.
        seconds: A checkpoint is due after this time, above 0.
        epochs: And after every so many epochs, 1 or more; None: by time alone.
    """

    def __init__(
        self,
        agreement: RankAgreement,
        note: SignalNote,
        stop: StopFile | None,
        writer: CheckpointWriter,
        save: Callable[[], None],
        *,
        seconds: float,
        epochs: int | None,
    ) -> None:
        self._agreement = agreement
        self._note = note
        self._stop = stop
        self._writer = writer
        self._save = save
        self._seconds = seconds
        self._epochs = epochs
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
        self._writer.check()
        vote = self._agreement.result()
        if vote == GO_ON:
            return
        self._save_now()
        if vote >= STOP:
            self._writer.finish()
            asked = signal.Signals(vote - STOP).name if vote > STOP else "its stop file"
            raise Interrupted(f"the run was ended by {asked}; it can be continued")

    def epoch_ends(self, epoch: int) -> None:
        """After the evaluation of every epoch, counted from 1, but the last one's."""
        if self._epochs is not None and epoch % self._epochs == 0:
            self._save_now()

    def _vote(self) -> int:
        if self._note.number is not None:
            return STOP + self._note.number
        if self._stop is None:
            return GO_ON
        if self._stop.is_there():
            return STOP
        return SAVE if time.monotonic() - self._saved >= self._seconds else GO_ON

    def _save_now(self) -> None:
        self._save()
        self._saved = time.monotonic()
