"""Scalars and videos as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import imageio.v3 as imageio
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from core.api import LoggerContext
    from plugins.loggers.options import TensorBoardOptions

CLIP_EVERY = 3
"""Every third picture of an episode goes into TensorBoard; the whole is in RUN/videos."""
CLIP_PICTURES = 100
CLIP_RATE = 10
"""Pictures per second."""


@final
class TensorBoardLogger:
    """Writes ``RUN/tensorboard``; the step axis counts environment frames."""

    def __init__(self, options: TensorBoardOptions, context: LoggerContext) -> None:
        self._folder = context.run.directory / "tensorboard"
        self._resumed = context.resumed
        self._flush = options.flush_seconds
        self._writer: SummaryWriter | None = None

    def _open(self, step: int) -> SummaryWriter:
        """Opened at the first step, so that a resumed run hides what it is about to repeat."""
        if self._writer is None:
            purge = step if self._resumed else None
            self._writer = SummaryWriter(
                str(self._folder), purge_step=purge, flush_secs=self._flush
            )
        return self._writer

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        writer = self._open(step)
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)

    def video(self, step: int, path: Path) -> None:
        # TensorBoard shows clips as GIFs. SummaryWriter.add_video would need moviepy for this.
        pictures = imageio.imread(path, plugin="pyav")[::CLIP_EVERY][:CLIP_PICTURES]
        gif = imageio.imwrite("<bytes>", pictures, extension=".gif", duration=1000 / CLIP_RATE)
        height, width = pictures.shape[1:3]
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=bytes(gif)
        )
        summary = Summary(value=[Summary.Value(tag="eval/video", image=image)])
        writer: Any = self._open(step).file_writer  # torch types it as None
        writer.add_summary(summary, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
