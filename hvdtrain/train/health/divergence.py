"""How a run says that it has diverged: what is NaN or infinite, and on which ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hvdtrain.errors import RunError
from hvdtrain.names import name_ranks

IMAGES = "the images"


class RankFault(NamedTuple):
    """What one rank holds that is not finite.

    Attributes:
        rank: Which one.
        host: Its node.
        where: The first variable, gradient or other value with NaN or infinity; may be empty.
    """

    rank: int
    host: str
    where: str


class DivergedError(RunError):
    """Something is NaN or infinite. All ranks raise this in the same step."""

    def __init__(self, what: str, where: str = "", faults: Sequence[RankFault] = ()) -> None:
        """Say what has diverged.

        Args:
            what: What is not finite, and in which step.
            where: The variable, gradient or other value, where no rank alone has it.
            faults: Of the ranks that have it, ascending; empty: of no single one.
        """
        text = what
        if faults:
            hosts = list(dict.fromkeys(fault.host for fault in faults))
            more = f" and {len(hosts) - 1} more nodes" if len(hosts) > 1 else ""
            text += f"; it is that of {name_ranks([fault.rank for fault in faults])}"
            text += f" on {hosts[0]}{more}"
            where = faults[0].where
        super().__init__(
            f"{text}: NaN or infinity in {where}" if where else text,
            "look for what is wrong with these images"
            if where == IMAGES
            else "use a lower peak learning rate or a longer warm-up",
        )
