"""The pages on sparse execution say what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.agent.agent import build_agent
from core.cli import main
from core.config import load, resolve
from core.plugins import load_plugins
from core.training.experiment import build_environments
from tests.support.pages import blocks, text

PAGE = "how-to/sparse-execution.md"


@pytest.fixture
def run(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short sparse run at the place that the page names."""
    monkeypatch.chdir(tmp_path)
    short = ["frames=220", "evaluation={every: null, final_episodes: 1}", "diagnostics=[]"]
    assert main(["run", str(tiny), "execution=sparse", *short, "--run-dir", "runs/mine"]) == 0
    return tmp_path / "runs" / "mine"


def executed(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), names)
    return names


def test_a_sparse_actor_is_loaded_in_plain_pytorch_as_the_page_does(run: Path) -> None:
    plain, own = blocks(PAGE, "python")
    stored = torch.load(run / "checkpoint" / "state.pt", weights_only=True)["learner"]["loss"]
    assert stored["actor.trunk.blocks.0.expand.weight"].ndim == 1
    actor, weights = executed(plain)["actor"], executed(own)["weights"]

    config = resolve(load([run / "resolved.yaml"], ["execution=masked"]), load_plugins())
    agent = build_agent(config, build_environments(config).spec, torch.device("cpu"))
    network = agent.parts.modules["actor"]
    network.load_state_dict(actor, strict=True)
    masks = agent.masks.masks["actor"]
    for name, parameter in network.named_parameters():
        assert weights[f"actor.{name}"].equal(parameter)
        if name in masks:
            assert parameter[~masks[name]].eq(0).all()
            assert parameter[masks[name]].equal(stored[f"actor.{name}"])


def test_the_verb_and_its_arguments_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench-execution", "--help"])
    shown, page = capsys.readouterr().out, text("reference/command-line.md")
    for option in ("--widths", "--sparsity", "--batch", "--threads", "--blocks", "--seconds"):
        assert option in shown
        assert f"`{option}" in page
