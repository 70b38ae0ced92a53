"""Options of the data sources; nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.api import require


@dataclass(frozen=True)
class ReplayOptions:
    """Options of ``replay``. Transitions and steps are agent steps, after action repeat."""

    capacity: int = 1_000_000
    """Transitions kept, over all environments; at least 1. Each environment gets an equal
    share, rounded down. Fewer are held while most episodes end long before the time limit,
    because every episode keeps one observation more, its last. (1,000,000: SAC, DrQ-v2.)
    """
    batch_size: int = 256
    """Transitions per batch, drawn uniformly with replacement; at least 1. (256: DrQ-v2, SimBa.)"""
    updates_per_step: float = 1.0
    """Batches per agent step collected, the replay ratio; above 0. Fractions carry over exactly.
    (0.5: DrQ-v2, an update every second agent step; 2: SimBa.)"""
    learning_starts: int = 5000
    """Transitions collected before the first batch, which owe no batches; at least 0.
    (5000: SimBa; 2000: DrQ-v2, its 4000 frames with action repeat 2.)"""
    storage: Literal["memory", "memmap", "device"] = "memory"
    """Where observations and actions are kept: ``memory`` (RAM), ``memmap`` (a file in the
    run's folder, cached by the operating system), or ``device`` (the learner's)."""

    def __post_init__(self) -> None:
        require(self.capacity >= 1, "capacity", f"must be at least 1, got {self.capacity}")
        require(self.batch_size >= 1, "batch_size", f"must be at least 1, got {self.batch_size}")
        ratio = self.updates_per_step
        require(
            math.isfinite(ratio) and ratio > 0,
            "updates_per_step",
            f"must be finite and above 0, got {ratio}",
        )
        starts = self.learning_starts
        require(starts >= 0, "learning_starts", f"must be at least 0, got {starts}")
        require(
            starts <= self.capacity,
            "learning_starts",
            f"must be at most capacity ({self.capacity}), got {starts}",
        )
        require(
            self.storage in ("memory", "memmap", "device"),
            "storage",
            f"must be memory, memmap or device, got {self.storage}",
        )


@dataclass(frozen=True)
class StreamOptions:
    """``stream`` has no options: every transition is one update, with nothing kept."""
