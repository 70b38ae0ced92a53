"""Options that diagnostics share."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.api import BatchOptions, require

EVERY = 10_000
"""Frames: the published code measures every 5,000 agent steps, at action repeat 2."""

INSTEAD = {
    "replay": "or let it look at the last transitions: batch.source: recent",
    "inspection": "or leave the diagnostic out",
    "features": "or leave the diagnostic out",
}
"""What a user can do about needs that are not met."""


@dataclass(frozen=True)
class Scheduled:
    """A diagnostic with a schedule."""

    every: int | None = EVERY
    """Environment frames between measurements; null: only before the first update and at the
    end, where it always measures."""

    def __post_init__(self) -> None:
        require(
            self.every is None or self.every > 0, "every", f"must be positive, got {self.every}"
        )


@dataclass(frozen=True)
class Batched(Scheduled):
    """A diagnostic that looks at transitions."""

    batch: BatchOptions = field(default_factory=BatchOptions)
    """The transitions that it looks at."""


def batch_needs(options: Batched) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is ``replay``."""
    return options.batch.needs | {"inspection"}
