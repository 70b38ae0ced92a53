"""TensorBoard: what was written is read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.api import LoggerContext, RunInfo, UserError
from core.plugins import Plugins
from core.training.evaluation import write_video


def context(folder: Path, resumed: bool = False) -> LoggerContext:
    return LoggerContext(RunInfo("name", folder, {}), resumed)


def build(plugins: Plugins, folder: Path, resumed: bool = False):
    component = plugins.find("loggers", "tensorboard")
    return component.build(component.options(), context(folder, resumed))


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    return events.Reload()


def test_scalars(plugins: Plugins, tmp_path: Path) -> None:
    logger = build(plugins, tmp_path)
    logger.write(10, {"loss/critic": 0.5})
    logger.write(20, {"loss/critic": 0.25, "eval/return": 3.0})
    logger.close()
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("loss/critic")] == [(10, 0.5), (20, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("eval/return")] == [(20, 3.0)]


def test_a_resumed_run_hides_what_it_repeats(plugins: Plugins, tmp_path: Path) -> None:
    first = build(plugins, tmp_path)
    for step in (10, 20, 30):
        first.write(step, {"x": 1.0})
    first.close()
    second = build(plugins, tmp_path, resumed=True)
    second.write(20, {"x": 2.0})
    second.close()
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("x")] == [(10, 1.0), (20, 2.0)]


def test_a_video_is_an_mp4_that_plays_and_a_clip(plugins: Plugins, tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 2 * i, dtype=np.uint8) for i in range(30)]
    path = tmp_path / "videos" / "1.mp4"
    write_video(path, pictures)
    played = imageio.imread(path, plugin="pyav")
    assert played.shape == (30, 48, 64, 3)
    assert np.abs(played.astype(int) - np.stack(pictures)).mean() < 4  # lossy, but the same

    logger = build(plugins, tmp_path)
    logger.video(7, path)
    logger.close()
    (event,) = read(tmp_path).Images("eval/video")
    clip = imageio.imread(io.BytesIO(event.encoded_image_string), extension=".gif", index=None)
    assert event.step == 7
    assert clip.shape[0] == 10


def test_wandb_says_what_to_install(plugins: Plugins, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    component = plugins.find("loggers", "wandb")
    with pytest.raises(UserError, match=r"pip install 'openwork\[wandb\]'"):
        component.build(component.options(), context(tmp_path))
