"""Corrupt images, counted over all ranks."""

from __future__ import annotations

from hvdtrain.errors import RunError
from hvdtrain.train.data.faults import CorruptLog
from hvdtrain.train.world import gather


def count_corrupt(log: CorruptLog) -> int:
    """Corrupt images that any rank has met, each counted once. Collective.

    Raises:
        RunError: They are more than a run puts up with.
    """
    found = len(frozenset().union(*gather(log.examples)))
    if found > log.limit:
        raise RunError(
            f"{found} corrupt {log.split} images are more than the {log.limit} that a run puts "
            "up with; the ranks have named them above",
            "repair or remove them; hvdtrain prepare-data leaves them out",
        )
    return found
