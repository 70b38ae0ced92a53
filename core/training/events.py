"""What a run tells while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Collected:
    """One iteration: frames were collected and learned from."""

    step: int
    updates: int


@dataclass(frozen=True)
class Logged:
    """A logging interval ended."""

    step: int
    scalars: dict[str, float]


@dataclass(frozen=True)
class Examined:
    """Diagnostics measured the agent."""

    step: int
    scalars: dict[str, float]


@dataclass(frozen=True)
class Disabled:
    """A diagnostic raised and is left out from now on."""

    step: int
    what: str
    error: BaseException


@dataclass(frozen=True)
class Intervened:
    """An intervention changed the agent."""

    step: int
    scalars: dict[str, float]


@dataclass(frozen=True)
class Remasked:
    """The masks of a network changed."""

    step: int
    scalars: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """An evaluation ended."""

    step: int
    scalars: dict[str, float]
    video: Path | None


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Ended:
    """The run left its loop: ``finished`` or ``interrupted``."""

    step: int
    outcome: str


Event = Collected | Logged | Examined | Disabled | Intervened | Remasked | Evaluated | Saved | Ended
