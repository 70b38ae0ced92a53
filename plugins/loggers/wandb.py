"""Scalars and videos to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, final

from core.api import UserError

if TYPE_CHECKING:
    from core.api import LoggerContext
    from plugins.loggers.options import WandbOptions


@final
class WandbLogger:
    """One W&B run per run directory, taken up again by a resumed run.

    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, options: WandbOptions, context: LoggerContext) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError(
                "the logger 'wandb' needs a package: pip install 'openwork[wandb]'"
            ) from None
        self._video = wandb.Video
        self._run = wandb.init(
            project=options.project,
            entity=options.entity,
            group=options.group,
            mode=options.mode,
            id=context.run.directory.name,
            resume="allow" if context.resumed else None,
            name=context.run.directory.name,
            dir=str(context.run.directory),
            config=dict(context.run.config),
        )
        self._run.define_metric("*", step_metric="frame")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        # "frame" is the axis: W&B's own step must rise with every call, a resumed run repeats
        self._run.log({**scalars, "frame": step})

    def video(self, step: int, path: Path) -> None:
        self._run.log({"eval/video": self._video(str(path), format="mp4"), "frame": step})

    def close(self) -> None:
        self._run.finish()
