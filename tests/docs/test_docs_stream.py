"""The how-to on streaming says what the code does: presets, refusals, examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from core.cli import main
from plugins.execution import compiled
from plugins.execution.online import library
from tests.conftest import PRESETS
from tests.support.pages import blocks, text

PAGE = "how-to/stream.md"


def test_the_preset_of_the_how_to_is_the_streaming_sibling() -> None:
    sibling, _ = blocks(PAGE, "yaml")
    assert yaml.safe_load(sibling) == yaml.safe_load((PRESETS / "state_streaming.yaml").read_text())


def test_the_warning_without_kernels_is_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_found", lambda: "were not built")
    compiled.warn.cache_clear()
    with pytest.warns(RuntimeWarning) as caught:
        assert library.kernels() is None
    assert f"```\n{caught[0].message}\n```" in text(PAGE)


def test_the_discrete_preset_of_the_how_to_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cartpole.yaml").write_text(blocks(PAGE, "yaml")[1])
    (tmp_path / "presets").symlink_to(PRESETS)
    monkeypatch.chdir(tmp_path)
    short = ["frames=50", "log_every=50", "evaluation={every: null, episodes: 1}"]
    assert main(["run", "cartpole.yaml", *short, "--run-dir", "run"]) == 0
    assert "train/q" in Path("run/metrics.jsonl").read_text()


def test_obgd_of_the_how_to_learns_the_value_of_random_actions() -> None:
    (code,) = blocks(PAGE, "python")
    torch.manual_seed(0)
    scope: dict[str, Any] = {}
    exec(compile(code.replace("range(5_000)", "range(1_500)"), "stream.md", "exec"), scope)
    estimate = scope["value"](torch.zeros(4)).item() / 0.05
    assert 15 < estimate < 26  # 500 random episodes from the start: a mean of 18.9
    assert set(scope["optimizer"].report) == {"trace_norm", "step_size", "bound_active"}
