"""Whole streaming runs from the command line: repeated, resumed, ended by what is not finite."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from core.cli import main
from core.training.loop import Run
from tests.conftest import PRESETS
from tests.support.run_directories import metrics, same

Q = [
    "environment.id=CartPole-v1",
    "loss={name: stream_q, epsilon: {steps: 300}}",
    "optimizer.kappa.critic=2",
]
SPARSE = "masks=[{name: erdos_renyi, target: all, sparsity: 0.6}]"
PHASES = "execution={name: masked, native: false}"
SAC = ["loss=sac", "network={name: mlp, normalise: true}", "optimizer={name: adam}"]
KINDS = {
    "compiled": [SPARSE],
    "phases": [SPARSE, PHASES],
    "kept weights": [SPARSE, "execution=sparse"],
    "phases on kept weights": [SPARSE, "execution={name: sparse, native: false}"],
    "three environments": ["environment.count=3"],
    "bootstrapping at time limits": ["loss.truncation=bootstrap", "network.time_input=false"],
    "adaptive": ["optimizer={name: adaptive_obgd}"],
    "discrete": Q,
    "sac of batch one": SAC,
}


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A streaming preset that ends in seconds."""
    path = tmp_path / "stream.yaml"
    path.write_text(
        f"extends: {PRESETS / 'base' / 'streaming.yaml'}\n"
        "frames: 420\n"
        "environment: {id: Pendulum-v1, max_episode_steps: 60}\n"
        "network: {width: 16}\n"
        "evaluation: {every: 150, episodes: 1}\n"
        "checkpoint: {every: 130}\n"
        "log_every: 40\n"
    )
    return path


def run(preset: Path, directory: Path, *overrides: str) -> int:
    return main(["run", str(preset), *overrides, "--run-dir", str(directory)])


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_equals_undisturbed(
    kind: str, stream: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole, parts, overrides = tmp_path / "whole", tmp_path / "parts", KINDS[kind]
    assert run(stream, whole, *overrides) == 0
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= 211:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert run(stream, parts, *overrides) == 130
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)
    assert metrics(whole)[-1]["step"] == 420


@pytest.mark.parametrize("kind", ["compiled", "discrete"])
def test_evaluation_does_not_disturb_streaming(kind: str, stream: Path, tmp_path: Path) -> None:
    states = []
    for name, every in (("often", 50), ("never", 1_000_000)):
        assert run(stream, tmp_path / name, *KINDS[kind], f"evaluation.every={every}") == 0
        path = tmp_path / name / "checkpoint" / "state.pt"
        states.append(torch.load(path, weights_only=True)["learner"]["loss"])
    often, never = states
    assert all(torch.equal(often[k], never[k]) for k in never)


def test_every_transition_is_one_update(stream: Path, tmp_path: Path) -> None:
    assert run(stream, tmp_path / "run") == 0
    logged = [line for line in metrics(tmp_path / "run") if "train/td_error" in line]
    assert [line["step"] for line in logged] == [*range(40, 420, 40), 420]
    lines = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").open()]
    assert max(line.get("time/updates", 0) for line in lines) == 420


NAN_REWARD = """
import math
import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv

class Faulty(PendulumEnv):
    steps = 0
    def step(self, action):
        Faulty.steps += 1
        observation, reward, *rest = super().step(action)
        return observation, math.{bad} if Faulty.steps == 97 else reward, *rest

gymnasium.register("Faulty-v0", Faulty, max_episode_steps=60)
"""


@pytest.mark.parametrize("overrides", [[], [PHASES]], ids=["compiled", "phases"])
@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_non_finite_delta_stops_the_run_with_step_and_quantity(
    bad: str, overrides: list[str], stream: Path, tmp_path: Path, capsys: Any
) -> None:
    plugin = tmp_path / "faulty.py"
    plugin.write_text(NAN_REWARD.format(bad=bad))
    overrides = [*overrides, "environment.id=Faulty-v0", "checkpoint.every=50"]
    faulty = ["--plugin", str(plugin), "--run-dir", str(tmp_path / "run")]
    assert main(["run", str(stream), *overrides, *faulty]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "stopped: frame 97: 'train/td_error' became non-finite at update 97" in said
    assert "last good checkpoint: frame 50" in said
    logged = [line["step"] for line in metrics(tmp_path / "run") if "train/td_error" in line]
    assert logged == [40, 80]
    state = torch.load(tmp_path / "run" / "checkpoint" / "state.pt", weights_only=True)
    assert all(value.isfinite().all() for value in state["learner"]["loss"].values())
