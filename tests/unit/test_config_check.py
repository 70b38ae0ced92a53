"""Checking: every mistake is one line with file, line, key, nearest name and choices."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from core.config import RunConfig, load, resolve
from core.errors import UserError
from core.plugins import Plugins
from tests.conftest import PRESETS

QUICKSTART = PRESETS / "quickstart.yaml"


def mistakes(plugins: Plugins, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        resolve(load([QUICKSTART], list(overrides)), plugins)
    return str(caught.value)


def preset(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {QUICKSTART}\n" + text)
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("masks: [{name: erdos_renyi, sparcity: 0.5}]", ["masks.0.sparcity", "'sparsity'", "options:"]),
        ("loss: {name: sca}", ["loss.name", "no loss is called 'sca'", "'sac'", "ddpg"]),
        ("los: {name: sac}", ["a preset has no key 'los'", "'loss'", "keys:"]),
        ("seed: many", ["seed", "must be a whole number, got 'many'"]),
        ("environment: {task: off}", ["environment.task", "off is a boolean in YAML", '"off"']),
        ("record_video: on", ["record_video", "on is a boolean in YAML", "true"]),
        ("masks: [{name: erdos_renyi, sparsity: 1.5}]", ["masks.0.sparsity", "[0, 1)", "1.5"]),
        ("masks: [{name: erdos_renyi}]", ["masks.0", "needs 'sparsity' (a number)"]),
        ("masks: [{name: erdos_renyi, sparsity: .5, draw: exat}]", ["'exact' or 'bernoulli'", "Did you mean 'exact'"]),
        ("frames: 1e5", ["frames", "write 100_000"]),
        ("frames: 0100", ["octal", "64"]),
        ("frames: -5", ["frames", "must be positive"]),
        ("data: 5", ["data", "needs a 'name'", "replay"]),
        ("loggers: tensorboard", ["loggers", "must be a list"]),
        ("evaluation: {every: 0}", ["evaluation.every", "must be positive"]),
        ("environment: {count: 0}", ["environment.count", "must be at least 1"]),
        ("device: gpu", ["device", "must be auto, cpu, cuda"]),
        ("network: {actor: {width: wide}}", ["network.actor.width", "must be a whole number"]),
        ("network: {actor: 7}", ["network.actor", "must be a mapping"]),
    ],
)  # fmt: skip
def test_one_mistake(plugins: Plugins, tmp_path: Path, line: str, expected: list[str]) -> None:
    path = preset(tmp_path, line)
    with pytest.raises(UserError) as caught:
        resolve(load([path]), plugins)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    for part in expected:
        assert part in message


def test_all_mistakes_at_once(plugins: Plugins, tmp_path: Path) -> None:
    path = preset(tmp_path, "seed: x\nlos: 1\nloss: {gama: 0.9}\nmasks: [{name: gone}]\n")
    with pytest.raises(UserError) as caught:
        resolve(load([path]), plugins)
    message = str(caught.value)
    for line, key in ((2, "seed"), (3, "los"), (4, "loss.gama"), (5, "masks.0.name")):
        assert f"{path}:{line}: {key}: " in message


def test_the_provider_stands_in_the_message(plugins: Plugins) -> None:
    assert "loss 'sac' (openwork 0.1.0) has no option 'gama'" in mistakes(plugins, "loss.gama=1")


def test_a_missing_component(plugins: Plugins, tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("frames: 10\n")
    with pytest.raises(UserError) as caught:
        resolve(load([path]), plugins)
    for key in ("environment", "network", "loss", "optimizer", "data"):
        assert f"{key}: is missing; choose one of: " in str(caught.value)


def test_a_partial_node_keeps_the_rest_of_its_default(plugins: Plugins) -> None:
    loaded = load([PRESETS / "state_sparse.yaml"], ["network.critic.width=32"])
    options = resolve(loaded, plugins).network.options
    assert (options.critic.width, options.critic.blocks) == (32, 2)


def test_the_resolved_configuration_is_a_preset_again(plugins: Plugins, tmp_path: Path) -> None:
    def again(config: RunConfig) -> RunConfig:
        path = tmp_path / "resolved.yaml"
        path.write_text(OmegaConf.to_yaml(config.plain()))
        return resolve(load([path]), plugins)

    first = resolve(load([QUICKSTART], ["environment.count=3", "loggers=[tensorboard]"]), plugins)
    second = again(first)
    assert second.plain() == first.plain()
    assert second.run == first.run
    assert [s.options for s in second.selections] == [s.options for s in first.selections]
    assert second.count == 3
