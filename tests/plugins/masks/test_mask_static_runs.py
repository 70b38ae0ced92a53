"""Whole runs of the schemes that prune once: when they do, and what is left."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.agent.masks import PackedMasks
from tests.plugins.masks.mask_runs import masks, run, saved_masks
from tests.support.run_directories import metrics

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
    directory = tmp_path / "run"
    words = (masks(*PAIRS[name]), f"execution={execution}", "frames=360")
    assert run(mode, directory, *words) == 0
    kept = saved_masks(directory)
    assert kept["actor"]
    assert kept["critic"]
    assert_pruned_once(name, mode, directory)
    if name != "nm":
        assert_budget(kept["critic"])


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
