"""A package by a third party: installed, found, checked, trained with, and taken away again."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from core.agent.masks import PackedMasks
from plugins.commands.plugins.scaffold import names, render
from tests.downstream.conftest import SAMPLE, Environment, Outcome

DISTRIBUTION = "openwork-revive"
PROVIDER = {"distribution": DISTRIBUTION, "version": "0.1.0"}
MASKS = "  - {name: revive, sparsity: 0.9, reserve: 0.05, at: 1_000}"
CHANGED = {
    "README.md",
    "revive.yaml",
    "src/openwork_revive/__init__.py",
    "src/openwork_revive/scheme.py",
    "tests/test_revive.py",
}
"""What its author wrote; all else is as ``plugins new revive --kind mask`` made it."""


@dataclass(frozen=True)
class Installed:
    """The package in a fresh environment, and a folder that is neither its nor ours."""

    environment: Environment
    package: Path
    away: Path

    def core(self, *words: str | Path) -> Outcome:
        return self.environment.run("-m", "core", *words, cwd=self.away)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("sample")
    environment = Environment(folder / "venv")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache", "build")
    package = shutil.copytree(SAMPLE, folder / "package", ignore=ignored)
    away = folder / "away"
    away.mkdir()
    environment.install(package, cwd=away)
    return Installed(environment, package, away)


@pytest.fixture(scope="module")
def run(sample: Installed) -> Path:
    """A run from the package's preset, from another working directory."""
    words = (
        "-m",
        "core.run",
        sample.package / "revive.yaml",
        "frames=1200",
        "--run-dir",
        "revived",
    )
    sample.environment.run(*words, cwd=sample.away).ok()
    return sample.away / "revived"


def test_it_is_the_scaffold_but_for_what_its_author_wrote() -> None:
    named = names("revive")
    assert named is not None
    for path, text in render("masks", named).items():
        written = (SAMPLE / path).read_text()
        if path == "pyproject.toml":
            described = re.compile(r"^description = .*$", re.MULTILINE)
            assert described.sub("", written) == described.sub("", text)
        elif path in CHANGED:
            assert written != text, f"{path} is not changed; it need not be named here"
        else:
            assert written == text, path


def test_it_is_listed_with_its_distribution_and_version(sample: Installed) -> None:
    listed = json.loads(sample.core("plugins", "list", "--kind", "mask", "--json").ok().out)
    (found,) = [c for c in listed["components"] if c["name"] == "revive"]
    assert found["kind"] == "masks"
    assert found["provider"].items() >= PROVIDER.items()
    assert found["provider"]["entry_point"] == "revive"
    assert found["provider"]["editable"] is True
    shown = sample.core("plugins", "info", "revive").ok().out
    assert "openwork-revive 0.1.0" in shown
    assert re.search(r"at: a whole number, default 20_?000", shown)


def test_its_own_tests_pass(sample: Installed) -> None:
    done = sample.environment.run("-m", "pytest", "-q", cwd=sample.package).ok()
    assert re.search(r"\d\d passed", done.out)
    assert "failed" not in done.out


def test_a_run_says_whose_scheme_it_is(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["outcome"] == "finished"
    (used,) = [plugin for plugin in record["plugins"] if plugin["distribution"] == DISTRIBUTION]
    assert used.items() >= PROVIDER.items()
    assert provider_of(record, "revive").items() >= PROVIDER.items()


def provider_of(record: Any, name: str) -> Any:
    (found,) = [c for c in record["components"] if c["name"] == name]
    return found["provider"]


def test_weights_came_back_once(run: Path) -> None:
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    grown = {m["step"]: m["mask/grown/critic"] for m in metrics if m.get("mask/grown/critic")}
    assert list(grown) == [1000]
    state = torch.load(run / "checkpoint/state.pt", weights_only=True)
    for role in ("actor", "critic"):
        masks = PackedMasks.restored(state["masks"]["masks"][role])
        for name in masks:
            assert masks.kept(name) == max(1, round(0.1 * masks[name].numel())), name


def test_without_it_the_preset_says_what_is_missing(sample: Installed, run: Path) -> None:
    sample.environment.run("-m", "pip", "uninstall", "-q", "-y", DISTRIBUTION, cwd=sample.away).ok()
    preset = sample.package / "revive.yaml"
    failed = sample.core("run", preset)
    assert failed.code == 2
    line = preset.read_text().splitlines().index(MASKS)
    assert f"{preset}:{line + 1}: masks.0.name: no mask is called 'revive'" in failed.err
    resumed = sample.core("resume", run, "frames=1400")
    assert resumed.code == 2
    assert "no mask is called 'revive'" in resumed.err
    sample.environment.link(sample.package)
    sample.core("resume", run, "frames=1400").ok()
