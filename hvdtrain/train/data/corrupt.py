"""Images that cannot be decoded: named once, counted, and too many of them end the run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable

from hvdtrain.errors import RunError
from hvdtrain.train.process.world import allgather

_NAMED_AT_MOST = 10

# [[{{node ReadFile}}]], {{function_node __inference_f_8}}, [Op:ReadFile] name:
_INTERNALS = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*", re.DOTALL)


def default_max_corrupt(images: int) -> int:
    """Corrupt images that a run tolerates: 0.1 % of a split, but at least ten."""
    return max(10, images // 1000)


class CorruptLog:
    """The corrupt images that one rank has met in one split.

    Args:
        split: `training` or `validation`, for messages.
        name: From an example to what a person can find it by.
        limit: More than this many end the run.
    """

    def __init__(self, split: str, name: Callable[[int], str], limit: int) -> None:
        self._split = split
        self._name = name
        self._limit = limit
        self._examples: set[int] = set()

    @property
    def split(self) -> str:
        """Which split it is about."""
        return self._split

    @property
    def examples(self) -> frozenset[int]:
        """The examples met so far."""
        return frozenset(self._examples)

    @property
    def limit(self) -> int:
        """Corrupt images of this split that a run tolerates."""
        return self._limit

    def recall(self, examples: Iterable[int]) -> None:
        """Remember corrupt images that were named before."""
        self._examples.update(examples)

    def add(self, example: int, reason: str) -> None:
        """Name a corrupt image on stderr and remember it.

        Raises:
            RunError: There are now more than the limit.
        """
        self._examples.add(example)
        print(
            f"hvdtrain: corrupt {self._split} image skipped: {self._name(example)}: {reason}",
            file=sys.stderr,
            flush=True,
        )
        if len(self._examples) > self._limit:
            names = [self._name(example) for example in sorted(self._examples)]
            more = len(names) - _NAMED_AT_MOST
            listed = "\n  ".join(names[:_NAMED_AT_MOST] + ([f"and {more} more"] * (more > 0)))
            raise RunError(
                f"{len(names)} corrupt {self._split} images are more than the {self._limit} that "
                f"a run tolerates:\n  {listed}",
                "repair or remove them; hvdtrain prepare-data leaves them out",
            )


def explain(error: Exception) -> str:
    """What TensorFlow's message says at its end, without the names of its internal nodes."""
    message = _INTERNALS.sub("", str(getattr(error, "message", error)))
    lines = [line.strip(" .\t") for line in message.splitlines()]
    return next(filter(None, reversed(lines)), type(error).__name__)


def count_corrupt(log: CorruptLog) -> int:
    """Corrupt images that any rank has met, each counted once. Collective.

    Raises:
        RunError: They are more than a run tolerates.
    """
    found = len(frozenset().union(*allgather(log.examples)))
    if found > log.limit:
        raise RunError(
            f"{found} corrupt {log.split} images are more than the {log.limit} that a run "
            "tolerates; the ranks have named them above",
            "repair or remove them; hvdtrain prepare-data leaves them out",
        )
    return found
