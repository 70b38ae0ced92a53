"""Tiny runs whose masks change, by replay and streaming."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from core.agent.masks import PackedMasks
from core.cli import main
from core.training import checkpoint
from tests.conftest import PRESETS
from tests.support.run_directories import metrics

SCHEMES = {
    "set": "{name: set, sparsity: 0.6, every: 100}",
    "rigl": "{name: rigl, sparsity: 0.6, every: 100, batch: {size: 32}}",
    "gmp": "{name: gmp, sparsity: 0.6, every: 60}",
}
REPLAY = """\
extends: {presets}/quickstart.yaml
frames: 600
environment: {{task: cartpole-swingup, time_limit: 2}}
network: {{actor: {{width: 16}}, critic: {{width: 16, blocks: 1}}}}
data: {{capacity: 400, batch_size: 16, learning_starts: 100}}
collect: {{random_frames: 200}}
diagnostics: []
evaluation: {{every: null, episodes: 1, final_episodes: 1}}
checkpoint: {{every: 130}}
log_every: 100
threads: 1
"""
STREAM = """\
extends: {presets}/base/streaming.yaml
frames: 600
environment: {{id: Pendulum-v1, max_episode_steps: 60}}
network: {{width: 16}}
diagnostics: []
evaluation: {{every: null, episodes: 1, final_episodes: 1}}
checkpoint: {{every: 130}}
log_every: 100
"""
TEXTS = {"replay": REPLAY, "stream": STREAM}
TWO = ["environment.count=2"]


def masks(*names: str) -> str:
    return f"masks=[{', '.join(SCHEMES.get(name, name) for name in names)}]"


def written(preset: str, folder: Path) -> Path:
    """The preset's file, in this folder."""
    path = folder / f"{preset}.yaml"
    path.write_text(TEXTS[preset].format(presets=PRESETS))
    return path


def run(preset: str, directory: Path, *overrides: str) -> int:
    words = ["run", str(written(preset, directory.parent)), *overrides]
    return main([*words, "--run-dir", str(directory)])


def shared(preset: str, *overrides: str) -> Path:
    """The directory of such a run from start to end, made once; only to be looked at."""
    return _finished(preset, overrides)


@cache
def _finished(preset: str, overrides: tuple[str, ...]) -> Path:
    folder = Path(mkdtemp(dir=_folder()))
    assert run(preset, folder / "run", *overrides) == 0
    return folder / "run"


@cache
def _folder() -> Path:
    folder = mkdtemp(prefix="mask-runs-")
    atexit.register(rmtree, folder, ignore_errors=True)
    return Path(folder)


def saved_masks(directory: Path) -> dict[str, PackedMasks]:
    saved = checkpoint.read(directory)["masks"]["masks"]
    return {role: PackedMasks.restored(state) for role, state in saved.items()}


def changes(directory: Path) -> list[tuple[int, str]]:
    """Frame and network of every change of masks."""
    return [
        (line["step"], key.removeprefix("mask/density/"))
        for line in metrics(directory)
        for key in line
        if key.startswith("mask/density/")
    ]
