"""Seconds of steps: what a run's speed is calculated from."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP_STEPS = 2
"""Updates that do not count: the first compiles the step, the second fills the caches."""


@dataclass
class StepClock:
    """Collects the seconds of each update and of its wait for the reduction."""

    steps: int = 0
    last_seconds: float = 0.0
    last_exposed_seconds: float = 0.0
    _counted: int = 0
    _seconds: float = 0.0
    _exposed_seconds: float = 0.0

    def add(self, seconds: float, exposed_seconds: float) -> None:
        """One more update."""
        self.steps += 1
        self.last_seconds = seconds
        self.last_exposed_seconds = exposed_seconds
        if self.steps > WARM_UP_STEPS:
            self._counted += 1
            self._seconds += seconds
            self._exposed_seconds += exposed_seconds

    @property
    def mean_seconds(self) -> float | None:
        """Seconds of an update after the warm-up; None before there is one."""
        return self._seconds / self._counted if self._counted else None

    @property
    def exposed_share(self) -> float | None:
        """Share of the update that waited for the reduction; None before there is one."""
        return min(1.0, self._exposed_seconds / self._seconds) if self._counted else None
