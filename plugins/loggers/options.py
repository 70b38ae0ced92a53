"""Options of the loggers; nothing here imports their packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.api import require


@dataclass(frozen=True)
class TensorBoardOptions:
    """Options of ``tensorboard``."""

    flush_seconds: int = 30
    """Seconds between writes to disk."""

    def __post_init__(self) -> None:
        require(
            self.flush_seconds > 0, "flush_seconds", f"must be positive, got {self.flush_seconds}"
        )


@dataclass(frozen=True)
class WandbOptions:
    """Options of ``wandb``."""

    project: str = "openwork"
    """The project that the run goes into."""
    entity: str | None = None
    """The team or user; null: the account's default."""
    group: str | None = None
    """A name that gathers runs, such as the seeds of one experiment; null: none."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """null: as the environment variable WANDB_MODE says."""
