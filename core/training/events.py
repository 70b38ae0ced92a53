"""What a run tells while it goes on. ``step`` counts environment frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Source = Literal["training", "diagnostics", "interventions", "masks", "evaluation"]


@dataclass(frozen=True)
class Collected:
    """One iteration: frames were collected and learned from."""

    step: int
    updates: int


@dataclass(frozen=True)
class Measured:
    """Numbers for whoever logs, just written to ``metrics.jsonl``."""

    step: int
    source: Source
    scalars: dict[str, float]
    video: Path | None = None
    """Of an episode of the evaluation."""


@dataclass(frozen=True)
class Disabled:
    """A diagnostic raised and is left out from now on."""

    step: int
    what: str
    error: BaseException


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


Event = Collected | Measured | Disabled | Saved | Ended
