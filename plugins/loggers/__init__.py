"""Built-in loggers. ``metrics.jsonl`` is always written and needs none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from core.api import Component, Logger, LoggerContext, UserError, hookimpl, require


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


def _build_tensorboard(options: TensorBoardOptions, context: LoggerContext) -> Logger:
    from plugins.loggers.tensorboard import TensorBoardLogger

    return TensorBoardLogger(options, context)


def _build_wandb(options: WandbOptions, context: LoggerContext) -> Logger:
    try:
        from plugins.loggers.wandb import WandbLogger
    except ImportError:
        raise UserError(
            "the logger 'wandb' needs a package: pip install 'openwork[wandb]'"
        ) from None
    return WandbLogger(options, context)


@hookimpl
def register_loggers() -> list[Component[Any, LoggerContext, Logger]]:
    """TensorBoard, and Weights & Biases where it is installed."""
    return [
        Component(
            "tensorboard",
            TensorBoardOptions,
            _build_tensorboard,
            "event files in RUN/tensorboard, videos included",
        ),
        Component(
            "wandb", WandbOptions, _build_wandb, "Weights & Biases (pip install openwork[wandb])"
        ),
    ]
