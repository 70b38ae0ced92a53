"""Whole runs that begin dense and become sparse: stopped, and gone on with."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.training.checkpoint import read
from core.training.loop import Run
from plugins.execution.linear import native_product
from tests.conftest import PRESETS
from tests.support.run_directories import same

SCHEME = """\
from dataclasses import dataclass

import torch

from core.api import Component, hookimpl

DENSITIES = {FRAMES}


@dataclass(frozen=True)
class Options:
    pass


class Steps:
    target = "all"
    batch = None

    def draw(self, parameters, generator):
        pruned = {n: p.shape for n, p in parameters.items() if p.ndim == 2 and min(p.shape) > 32}
        return {name: torch.rand(shape, generator=generator) < 1.1 for name, shape in pruned.items()}

    def due(self, last, frame):
        return any(last < at <= frame for at in DENSITIES)

    def change(self, view):
        density = [d for at, d in DENSITIES.items() if at <= view.frame][-1]
        found = {}
        for name, mask in view.masks.items():
            size = view.weight(name).abs().flatten()
            kept = torch.zeros_like(mask).flatten()
            kept[size.topk(round(density * mask.numel())).indices] = True
            found[name] = kept.view(mask.shape)
        return found


@hookimpl
def register_masks():
    return [Component("steps", Options, lambda options, context: Steps(), "sparser in steps")]
"""

pytestmark = pytest.mark.skipif(
    native_product.available() is not None, reason="no compiled kernels"
)


def replay(tiny: Path, execution: str) -> list[str]:
    return [
        str(tiny),
        "network={name: simba, actor: {width: 256, blocks: 1}, critic: {width: 256, blocks: 1}}",
        "data.batch_size=32",
        "diagnostics=[]",
        "frames=320",
        "evaluation.every=null",
        f"execution={execution}",
    ]


def streaming(tmp_path: Path, execution: str) -> list[str]:
    preset = tmp_path / "stream.yaml"
    preset.write_text(
        f"extends: {PRESETS / 'base' / 'streaming.yaml'}\n"
        "frames: 320\n"
        "environment: {id: Pendulum-v1, max_episode_steps: 60}\n"
        "network: {width: 128}\n"
        "evaluation: {every: null, episodes: 1}\n"
    )
    return [str(preset), f"execution={execution}"]


def run(plugin: Path, words: list[str], directory: Path) -> int:
    more = ["masks=[{name: steps}]", "--plugin", str(plugin), "--run-dir", str(directory)]
    return main(["run", *words, *more])


def interrupted(monkeypatch: Any, plugin: Path, words: list[str], directory: Path, at: int) -> None:
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= at:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert run(plugin, words, directory) == 130


def saved(directory: Path) -> dict[str, int]:
    """How many entries each matrix of the checkpoint has that is saved compactly."""
    state = read(directory)
    masks = state["masks"]["masks"]
    return {
        f"{role}.{name}": value.numel()
        for role in masks
        for name in masks[role]
        for value in [state["learner"]["loss"][f"{role}.{name}"]]
        if value.ndim == 1
    }


@pytest.mark.parametrize(
    ("kind", "execution"), [("replay", "auto"), ("streaming", "auto"), ("streaming", "sparse")]
)
def test_a_run_that_was_stopped_on_its_way_ends_as_one_that_was_not(
    kind: str, execution: str, tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    plugin = tmp_path / "steps.py"
    frames = {205: 0.5, 212: 0.36, 250: 0.1} if kind == "replay" else {90: 0.5, 150: 0.3, 250: 0.1}
    plugin.write_text(SCHEME.replace("{FRAMES}", repr(frames)))
    words = replay(tiny, execution) if kind == "replay" else streaming(tmp_path, execution)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(plugin, words, whole) == 0
    interrupted(monkeypatch, plugin, words, parts, 220)
    at_first = json.loads((parts / "run.json").read_text())["execution"]
    assert {layer["choice"] for layer in at_first.get("layers", {}).values()} <= {"masked"}
    half = saved(parts)
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)
    assert saved(whole)
    expected = execution == "sparse" or (execution == "auto" and kind == "replay")
    assert bool(half) is expected  # a row is compact from a density of a quarter on
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    densities = [line["mask/density/critic"] for line in lines if "mask/density/critic" in line]
    assert densities == pytest.approx(list(frames.values()), abs=1e-3)
