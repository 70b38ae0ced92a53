"""Loggers: who else gets a run's numbers. Hook: ``register_loggers``.

An example is ``plugins/loggers/tensorboard.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RunInfo:
    """A run, as watchers and loggers see it."""

    name: str
    directory: Path
    config: Mapping[str, Any]
    """The resolved configuration as plain Python."""


@dataclass(frozen=True)
class LoggerContext:
    """The run to log; ``resumed`` if its earlier part was logged by another process."""

    run: RunInfo
    resumed: bool


class Logger(Protocol):
    """Receives scalars; never changes the run. One that raises is disabled with a warning."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """``step`` counts environment frames."""

    def video(self, step: int, path: Path) -> None:
        """An evaluation episode was recorded."""

    def close(self) -> None: ...
