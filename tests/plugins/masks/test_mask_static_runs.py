"""Whole runs of the schemes that prune once: when they do, and what is left."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.agent.masks import PackedMasks
from core.cli import main
from core.training import checkpoint
from tests.conftest import PRESETS
from tests.support.run_directories import metrics

REPLAY = """\
extends: {presets}/quickstart.yaml
frames: 360
environment: {{task: cartpole-swingup, time_limit: 2}}
network: {{actor: {{width: 16}}, critic: {{width: 16, blocks: 1}}}}
data: {{capacity: 400, batch_size: 16, learning_starts: 100}}
diagnostics: []
evaluation: {{every: null, episodes: 1, final_episodes: 1}}
log_every: 100
threads: 1
"""
STREAM = """\
extends: {presets}/base/streaming.yaml
frames: 360
environment: {{id: Pendulum-v1, max_episode_steps: 60}}
network: {{width: 16}}
diagnostics: []
evaluation: {{every: null, episodes: 1, final_episodes: 1}}
log_every: 100
"""
PAIRS = {
    "snip": (
        "{name: snip, target: critic, sparsity: 0.6, counted: kernels, batch: {size: 64}}",
        "{name: block, target: actor, sparsity: 0.6}",
    ),
    "magnitude": (
        "{name: magnitude, target: critic, sparsity: 0.6, counted: kernels, at: 300, distribution: global}",
        "{name: small_world, target: actor, sparsity: 0.6}",
    ),
    "nm": (
        "{name: nm, target: critic, n: 1, m: 4}",
        "{name: magnitude, target: actor, sparsity: 0.6}",
    ),
}


@pytest.mark.parametrize(
    ("mode", "execution", "name"),
    [
        ("replay", "masked", "snip"),
        ("stream", "sparse", "snip"),
        ("replay", "sparse", "magnitude"),
        ("stream", "masked", "magnitude"),
        ("stream", "sparse", "nm"),
    ],
)
def test_a_run(mode: str, execution: str, name: str, tmp_path: Path) -> None:
    preset, directory = tmp_path / "preset.yaml", tmp_path / "run"
    preset.write_text({"replay": REPLAY, "stream": STREAM}[mode].format(presets=PRESETS))
    overrides = [f"masks=[{', '.join(PAIRS[name])}]", f"execution={execution}"]
    assert main(["run", str(preset), *overrides, "--run-dir", str(directory)]) == 0
    saved = checkpoint.read(directory)["masks"]["masks"]
    masks = {role: PackedMasks.restored(state) for role, state in saved.items()}
    assert masks["actor"]
    assert masks["critic"]
    assert_pruned_once(name, mode, directory)
    if name != "nm":
        assert_budget(masks["critic"])


def assert_pruned_once(name: str, mode: str, directory: Path) -> None:
    changes = [
        (line["step"], key, line[key])
        for line in metrics(directory)
        for key in line
        if key.startswith("mask/")
    ]
    if name == "nm":
        assert not changes
        return
    assert {key for _, key, _ in changes} == {
        f"mask/{what}/critic" for what in ("density", "grown", "dropped")
    }
    assert len(changes) == 3
    frame = changes[0][0]
    assert all(step == frame for step, *_ in changes)
    if name == "magnitude":
        assert 300 <= frame < 305  # the next update, so many frames apart are two of them
    elif mode == "stream":
        assert frame == 64  # as soon as so many transitions are there
    else:
        assert 200 <= frame < 205  # learning starts after 100 transitions of 2 frames


def assert_budget(masks: PackedMasks) -> None:
    """As many weights as the sparsity says, over all kernels; none is empty."""
    sizes = [masks.shape(name).numel() for name in masks]
    assert sum(masks.kept(name) for name in masks) == sum(n - math.floor(0.6 * n) for n in sizes)
    assert all(masks.kept(name) for name in masks)
