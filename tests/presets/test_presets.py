"""Every preset under presets/, whatever its folder: checked, built, and run for a few updates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.api.errors import UserError
from core.cli import main
from core.config import Selection, load, resolve
from core.plugins import Plugins
from tests.conftest import PRESETS

FRAGMENTS = ("base", "scales")
"""Folders of presets that are not experiments by themselves."""
EVERY = sorted(PRESETS.rglob("*.yaml"))
EXPERIMENTS = [p for p in EVERY if p.parent.name not in FRAGMENTS]
SCALES = PRESETS / "scales"
LAPTOP = {"replay": SCALES / "laptop.yaml", "stream": SCALES / "laptop_streaming.yaml"}
"""The overlay for a laptop, by data source."""
SMALL = {
    "simba": ["network.width_scale=0.25"],
    "drq_cnn": ["network.critic.hidden=32", "network.actor.hidden=32", "network.channels=4"],
    "stream_mlp": ["network.width=16"],
    "stream_cnn": ["network.width=16"],
}
SHORT = ["frames=80", "evaluation.every=null", "log_every=40", "threads=1"]
SHORT_DATA = {
    "replay": [
        "data.capacity=200",
        "data.batch_size=4",
        "data.learning_starts=20",
        "data.updates_per_step=0.2",
        "collect.random_frames=20",
    ],
    "stream": [],
}
SHORT_EPISODES = {
    "dm_control": ["environment.time_limit=0.4"],
    "gymnasium": ["environment.max_episode_steps=10"],
}
RESUMED = ("quickstart", "streaming_quickstart", "visual_module_specific")
"""Presets whose run is resumed too: one from states, one from a stream, one from pixels."""
UPDATED = {"replay": "loss/critic", "stream": "trace_norm/critic"}
"""A metric that only an update gives."""


def changes(scheme: Selection) -> bool:
    """Whether its masks change in training."""
    return hasattr(scheme.options, "every")


def name(path: Path) -> str:
    return str(path.relative_to(PRESETS))


def test_valid(plugins: Plugins) -> None:
    for preset in EXPERIMENTS:
        config = resolve(load([preset]), plugins)
        resolve(load([preset, LAPTOP[config.data.component.name]]), plugins)


def test_every_experiment_is_found() -> None:
    assert {"quickstart.yaml", "visual_sparse.yaml"} <= {p.name for p in EXPERIMENTS}
    assert len(EVERY) > len(EXPERIMENTS)


@pytest.mark.parametrize(
    "fragment", [p for p in EVERY if p.parent.name == "base"], ids=name
)  # fmt: skip
def test_a_fragment_lacks_only_what_its_users_name(fragment: Path, plugins: Plugins) -> None:
    with pytest.raises(UserError) as caught:
        resolve(load([fragment]), plugins)
    for problem in str(caught.value).splitlines():
        assert "is missing" in problem or re.search("needs '(task|id|frames)'", problem)


@pytest.mark.render
@pytest.mark.parametrize("preset", EXPERIMENTS, ids=name)
def test_runs_to_its_end_at_toy_size(
    preset: Path, plugins: Plugins, tmp_path: Path, capsys: Any
) -> None:
    config = resolve(load([preset]), plugins)
    data, environment = config.data.component.name, config.environment.component.name
    small = SMALL[config.network.component.name]
    masks = [f"masks.{i}.every=20" for i, scheme in enumerate(config.masks) if changes(scheme)]
    overrides = [*SHORT, *SHORT_DATA[data], *SHORT_EPISODES[environment], *small, *masks]
    run = tmp_path / "run"
    assert main(["run", str(preset), str(LAPTOP[data]), *overrides, "--run-dir", str(run)]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(UPDATED[data] in line for line in lines)
    grown = [v for line in lines for key, v in line.items() if key.startswith("mask/grown/")]
    assert bool(masks) == any(grown)
    assert lines[-1]["step"] == 80
    assert "eval/return" in lines[-1]
    assert (run / "videos" / "0000000080.mp4").stat().st_size > 0
    assert list((run / "tensorboard").iterdir())
    if preset.stem in RESUMED:
        assert main(["resume", str(run), "frames=100"]) == 0


@pytest.mark.parametrize(
    ("replayed", "streamed"),
    [("state_sparse", "state_streaming"), ("visual_sparse", "streaming_visual")],
)
def test_streaming_siblings_differ_in_four_nodes(
    replayed: str, streamed: str, plugins: Plugins
) -> None:
    one, other = (
        resolve(load([PRESETS / f"{stem}.yaml"]), plugins).plain() for stem in (replayed, streamed)
    )
    differing = {key for key in one if one[key] != other[key]}
    assert differing == {"data", "loss", "optimizer", "network"}
    assert other["data"] == {"name": "stream"}
