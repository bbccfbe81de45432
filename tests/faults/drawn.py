"""Which faults a seed draws."""

from __future__ import annotations

import random
from dataclasses import dataclass

ALONE = ("train", "collapse", "ensemble", "prepare-data")
RESUMED = ("train", "collapse", "prepare-data")

COMMANDS = {
    "rank-killed": ("train",),
    "killed": ALONE,
    "disk-full": ALONE,
    "no-space": ALONE,
    "no-locks": ALONE,
    "clock": ALONE,
    "checkpoint-cut": RESUMED,
    "metrics-cut": RESUMED,
    "rank-stopped": ("train",),
}
"""What each kind happens to. For a checkpoint prepare-data has a shard, for metrics a journal."""


@dataclass(frozen=True)
class DrawnFault:
    """One fault.

    Attributes:
        kind: Of `COMMANDS`.
        command: What it happens to.
        seed: What else is drawn comes from it.
    """

    kind: str
    command: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.command}-{self.seed}"


def draw_faults(seed: int, count: int) -> list[DrawnFault]:
    """Some faults, of every kind as many; with a larger count the first ones stay the same."""
    chance = random.Random(seed)
    faults: list[DrawnFault] = []
    while len(faults) < count:
        faults += [
            DrawnFault(kind, chance.choice(COMMANDS[kind]), chance.getrandbits(32))
            for kind in chance.sample(sorted(COMMANDS), len(COMMANDS))
        ]
    return faults[:count]
