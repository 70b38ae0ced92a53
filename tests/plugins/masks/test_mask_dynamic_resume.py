"""Runs whose masks change are stopped, killed, and ended by a fault, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config import load, resolve
from core.plugins import load_plugins
from core.training import checkpoint
from core.training.experiment import build
from core.training.loop import Run
from tests.plugins.masks.mask_runs import TWO, changes, masks, run, saved_masks, shared, written
from tests.support.run_directories import metrics, same

# --- resumed ----------------------------------------------------------------------------

RESUMED = {
    "replay": ("replay", [masks("rigl"), "execution=sparse"]),
    "stream": ("stream", [masks("set")]),
    "stream, kept weights": ("stream", [masks("gmp"), "execution=sparse"]),
    "stream, two environments": ("stream", [masks("rigl"), *TWO]),
}


@pytest.mark.parametrize("kind", RESUMED)
def test_stopped_and_resumed_equals_undisturbed(
    kind: str, tmp_path: Path, monkeypatch: Any
) -> None:
    preset, overrides = RESUMED[kind]
    whole, parts = shared(preset, *overrides), tmp_path / "parts"
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= 341:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert run(preset, parts, *overrides) == 130
    before = saved_masks(parts)
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)
    assert saved_masks(whole) == saved_masks(parts) != before
    assert len(changes(whole)) >= 6


def test_killed_without_warning_and_resumed_elsewhere(tmp_path: Path) -> None:
    """Up to a kill between two changes, and the rest, each in a process of its own."""
    killer = (
        "import os, signal, sys; from core.training.loop import Run; old = Run._iterate\n"
        "def iterate(self, t):\n"
        "    yield from old(self, t)\n"
        "    if self.counters.frames >= 360: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Run._iterate = iterate\n"
        "from core.cli import main; main(sys.argv[1:])\n"
    )
    whole, parts = shared("stream", masks("gmp"), "execution=sparse"), tmp_path / "parts"
    words = [str(written("stream", tmp_path)), masks("gmp"), "execution=sparse", "--run-dir"]
    command = [sys.executable, "-c", killer, "run", *words, str(parts)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    command = [sys.executable, "-m", "core", "resume", str(parts)]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[3])
    assert saved_masks(whole) == saved_masks(parts)
    assert same(whole, parts)


def test_masks_that_were_saved_are_those_that_were_in_force() -> None:
    """Bit for bit; that another process reads the same is in test_mask_static_saved."""
    directory = shared("replay", masks("rigl"), "execution=sparse")
    config = resolve(load([directory / "resolved.yaml"]), load_plugins())
    agent = build(config, None).agent
    drawn = dict(agent.masks.masks)
    checkpoint.restore_agent(agent, checkpoint.read(directory))
    assert agent.masks.masks == saved_masks(directory) != drawn


# --- faults -----------------------------------------------------------------------------

FAULTY = """
from dataclasses import dataclass
import torch
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    fails_at: int = 400

class Faulty:
    target, batch = "critic", None
    def __init__(self, options):
        self.fails_at = options.fails_at
    def draw(self, parameters, generator):
        return {n: torch.rand(p.shape, generator=generator) < .5
                for n, p in parameters.items() if p.ndim == 2}
    def due(self, last, frame):
        return frame // 100 > max(last, 0) // 100
    def change(self, view):
        if view.frame >= self.fails_at:
            FAIL
        return {n: m.flip(0) for n, m in view.masks.items()}

@hookimpl
def register_masks():
    return [Component("faulty", Options, lambda o, c: Faulty(o), "fails")]
"""


def test_a_fault_of_a_scheme_leaves_the_run_as_it_was_last_saved(tmp_path: Path) -> None:
    plugin, directory = tmp_path / "faulty.py", tmp_path / "run"
    plugin.write_text(FAULTY.replace("FAIL", "raise RuntimeError('lost count')"))
    words = ["run", str(written("stream", tmp_path)), "masks=[faulty]", "--plugin", str(plugin)]
    with suppress(Exception):
        assert main([*words, "--run-dir", str(directory)]) != 0, "the fault went unnoticed"
    state = checkpoint.read(directory)
    assert state["counters"]["frames"] == 390
    assert state["mask_updates"]["last"] == {"critic": 300}
    assert json.loads((directory / "run.json").read_text())["outcome"] == "failed"
    assert max(line["step"] for line in metrics(directory)) <= 400
    plugin.write_text(FAULTY.replace("FAIL", "pass"))
    assert main(["resume", str(directory), "--plugin", str(plugin)]) == 0
    assert changes(directory) == [(frame, "critic") for frame in range(100, 601, 100)]
