"""Every preset under presets/, whatever its folder: checked, built, and run for a few updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config import load, resolve
from core.errors import UserError
from core.plugins import Plugins
from tests.conftest import PRESETS

FRAGMENTS = ("base", "scales")
"""Folders of presets that are not experiments by themselves."""
EVERY = sorted(PRESETS.rglob("*.yaml"))
EXPERIMENTS = [p for p in EVERY if p.parent.name not in FRAGMENTS]
LAPTOP = PRESETS / "scales" / "laptop.yaml"
SMALL = {
    "simba": ["network.width_scale=0.25"],
    "drq_cnn": ["network.critic.hidden=32", "network.actor.hidden=32", "network.channels=4"],
}
SHORT = [
    "frames=160",
    "data.capacity=200",
    "data.batch_size=4",
    "data.learning_starts=40",
    "data.updates_per_step=0.2",
    "collect.random_frames=40",
    "environment.time_limit=1",
    "evaluation.every=null",
    "log_every=80",
    "threads=1",
]


def name(path: Path) -> str:
    return str(path.relative_to(PRESETS))


@pytest.mark.parametrize("preset", EXPERIMENTS, ids=name)
@pytest.mark.parametrize("overlay", [[], [LAPTOP]], ids=["as it is", "laptop"])
def test_valid(preset: Path, overlay: list[Path], plugins: Plugins) -> None:
    resolve(load([preset, *overlay]), plugins)


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
        assert "is missing" in problem or "needs 'task'" in problem or "needs 'frames'" in problem


@pytest.mark.render
@pytest.mark.parametrize("preset", EXPERIMENTS, ids=name)
def test_runs_to_its_end_at_toy_size(
    preset: Path, plugins: Plugins, tmp_path: Path, capsys: Any
) -> None:
    network = resolve(load([preset]), plugins).network.component.name
    overrides = [*SHORT, *SMALL[network]]
    run = tmp_path / "run"
    assert main(["run", str(preset), str(LAPTOP), *overrides, "--run-dir", str(run)]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("loss/critic" in line for line in lines)
    assert lines[-1]["step"] == 160
    assert "eval/return" in lines[-1]
    assert (run / "videos" / "0000000160.mp4").stat().st_size > 0
    assert list((run / "tensorboard").iterdir())
    assert main(["resume", str(run), "frames=200"]) == 0
