"""Built-in loggers. ``metrics.jsonl`` is always written and needs none of them."""

from __future__ import annotations

from typing import Any

from core.api import Component, Logger, LoggerContext, hookimpl, lazy
from plugins.loggers.options import TensorBoardOptions, WandbOptions


@hookimpl
def register_loggers() -> list[Component[Any, LoggerContext, Logger]]:
    """TensorBoard, and Weights & Biases where it is installed."""
    return [
        Component(
            "tensorboard",
            TensorBoardOptions,
            lazy("plugins.loggers.tensorboard:TensorBoardLogger"),
            "event files in RUN/tensorboard, videos included",
        ),
        Component(
            "wandb",
            WandbOptions,
            lazy("plugins.loggers.wandb:WandbLogger"),
            "Weights & Biases (pip install openwork[wandb])",
        ),
    ]
