"""Seconds of steps: what a run's speed is calculated from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec

WARM_UP_STEPS = 2
"""Updates that do not count: the first compiles the step, the second fills the caches."""


class ClockState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a clock has collected.

    Attributes:
        steps: Updates.
        counted: Those of them that count.
        seconds: Of those that count.
        exposed_seconds: Of their wait for the reduction.
    """

    steps: int = 0
    counted: int = 0
    seconds: float = 0.0
    exposed_seconds: float = 0.0


@dataclass
class StepClock:
    """Collects the seconds of each update and of its wait for the reduction."""

    steps: int = 0
    last_seconds: float = 0.0
    last_exposed_seconds: float = 0.0
    _warm_up_ends: int = WARM_UP_STEPS
    _counted: int = 0
    _seconds: float = 0.0
    _exposed_seconds: float = 0.0
    _epoch_own: list[float] = field(default_factory=list)

    @classmethod
    def restored(cls, state: ClockState) -> StepClock:
        """A clock that goes on from where another one was. The next updates warm up again."""
        return cls(
            steps=state.steps,
            _warm_up_ends=state.steps + WARM_UP_STEPS,
            _counted=state.counted,
            _seconds=state.seconds,
            _exposed_seconds=state.exposed_seconds,
        )

    @property
    def state(self) -> ClockState:
        """What has been collected."""
        return ClockState(
            steps=self.steps,
            counted=self._counted,
            seconds=self._seconds,
            exposed_seconds=self._exposed_seconds,
        )

    def add(self, seconds: float, exposed_seconds: float) -> None:
        """One more update."""
        self.steps += 1
        self.last_seconds = seconds
        self.last_exposed_seconds = exposed_seconds
        if self.steps > self._warm_up_ends:
            self._counted += 1
            self._seconds += seconds
            self._exposed_seconds += exposed_seconds
            self._epoch_own.append(seconds - exposed_seconds)

    def take_compute_seconds(self) -> float | None:
        """Mean seconds of an update before its reduction, since the last call or the start.

        None when no update after the warm-up was made since.
        """
        own, self._epoch_own = self._epoch_own, []
        return math.fsum(own) / len(own) if own else None

    @property
    def mean_seconds(self) -> float | None:
        """Seconds of an update after the warm-up; None before there is one."""
        return self._seconds / self._counted if self._counted else None

    @property
    def exposed_share(self) -> float | None:
        """Share of the update that waited for the reduction; None before there is one."""
        return min(1.0, self._exposed_seconds / self._seconds) if self._counted else None
