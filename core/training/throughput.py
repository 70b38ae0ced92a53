"""How fast a run goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.training.experiment import Counters


class Throughput:
    """Frames and updates per second of wall time, evaluations, diagnostics and checkpoints
    left out."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._since = self._clock = time.perf_counter()
        self._frames = self._updates = 0

    def start(self, frames: int, updates: int) -> None:
        self._since = self._clock = time.perf_counter()
        self._frames, self._updates = frames, updates

    def skip(self, seconds: float) -> None:
        """Leave these seconds out of the rates."""
        self._since += seconds

    def stamp(self) -> None:
        """Bring the run's total wall time up to date."""
        now = time.perf_counter()
        self._counters.seconds += now - self._clock
        self._clock = now

    def read(self, frames: int, updates: int) -> dict[str, float]:
        """Rates since the last call."""
        self.stamp()
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        rates = {
            "time/frames_per_second": (frames - self._frames) / seconds,
            "time/updates_per_second": (updates - self._updates) / seconds,
            "time/updates": float(updates),
            "time/elapsed": self._counters.seconds,
        }
        self._since, self._frames, self._updates = now, frames, updates
        return rates
