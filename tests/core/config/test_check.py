"""Checking: every mistake is one line with file, line, key, nearest name and choices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from core.api.errors import OptionError, UserError, require
from core.config import Loaded, RunConfig, load, resolve
from core.config.check import INVALID, Checker
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


def test_every_value_out_of_range_is_told(plugins: Plugins) -> None:
    bad = ["frames=-5", "seed=x", "log_every=0", "mask_seed=-1"]
    bad += ["data.capacity=x", "data.batch_size=0", "data.learning_starts=9_000_000"]
    bad += ["optimizer.lr=-1", "optimizer.weight_decay=-2", "optimizer.wait=1"]
    told = mistakes(plugins, *bad).splitlines()
    keys = [line.split(": ")[1] for line in told if line.startswith("command line")]
    # what hangs on a value that is wrong itself (learning_starts on capacity) is not judged
    wrong = {word.partition("=")[0] for word in bad} - {"data.learning_starts"}
    assert sorted(keys) == sorted(wrong)


def test_needs_are_checked_beside_mistakes_of_the_run(plugins: Plugins) -> None:
    told = mistakes(plugins, "seed=-1", "loss=stream_ac")
    assert "seed: must not be negative" in told
    assert "needs eligibility traces" in told


def test_an_error_of_a_plugins_own_is_not_hidden(plugins: Plugins) -> None:
    @dataclass(frozen=True)
    class Options:
        sides: tuple[float, ...] = (1.0, 2.0)
        width: int = 1
        form: str = "round"

        def __post_init__(self) -> None:
            require(len(self.sides) == 2, "sides", "must be two")
            if not 0 < self.sides[1] < 10:
                raise OptionError("sides", "must be below 10")
            require(self.form in {"round", "flat"}, "form", "must be round or flat")
            require(1 / self.width < 1, "width", "must be above 1")

    def told(**values: Any) -> list[str]:
        check = Checker(Loaded(dict(values)))
        assert check.dataclass(Options, values, (), "it") is INVALID
        return [text.partition(": ")[2] for text in check.problems]

    assert told(sides=[1]) == ["sides: must be two (it)"]
    assert told(sides=[1, 11]) == ["sides: must be below 10 (it)"]
    assert told(sides=[1, 2], width=1) == ["width: must be above 1 (it)"]
    assert told(form=5, width=1) == [
        "form: must be a text, got 5 (a whole number)",
        "width: must be above 1 (it)",
    ]
    (unknown,) = told(size=1, width=2)
    assert unknown.startswith("size: it has no option 'size'")
    with pytest.raises(ZeroDivisionError):
        told(width=0)
    with pytest.raises(OptionError):  # outside of the check, as ever
        Options(width=1)
