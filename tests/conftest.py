"""What all tests share."""

from __future__ import annotations

import os

# Before torch is imported: many small operations are fastest on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

from core.plugins import Plugins, load_plugins

# The same examples every time, so that a check which passes goes on passing, and no time limit
# on one: the machine may be busy. HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

PRESETS = Path(__file__).parents[1] / "presets"


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The built-in plugins, and whatever is installed."""
    return load_plugins()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


def write_tiny(folder: Path) -> Path:
    """A preset that trains in a second or two: nothing is learned, everything happens."""
    path = folder / "tiny.yaml"
    path.write_text(
        f"""\
extends: {PRESETS / "quickstart.yaml"}
frames: 600
environment: {{task: cartpole-swingup, time_limit: 2}}
network: {{actor: {{width: 16}}, critic: {{width: 16, blocks: 1}}}}
data: {{capacity: 400, batch_size: 16, learning_starts: 100}}
collect: {{random_frames: 200}}
evaluation: {{every: 200, episodes: 1, final_episodes: 1}}
checkpoint: {{every: 130}}
log_every: 100
threads: 1
"""
    )
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
