"""A run goes on under another execution backend."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from core.agent.state import dense_weights
from core.cli import main
from core.training import checkpoint
from core.training.loop import Run
from tests.support.twins import same

EITHER = [("masked", "sparse"), ("sparse", "masked")]
STOPPED: Any = property(lambda run: lambda: True, lambda run, stop: None)
"""A run that is stopped before its first frame saves what it read."""


def lines(directory: Path) -> list[dict[str, Any]]:
    """Of the run's metrics, wall times left out."""
    read = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in read]


def state(directory: Path) -> dict[str, Any]:
    return checkpoint.read(directory)


@pytest.mark.parametrize(("first", "second"), EITHER)
def test_execution_may_change_when_a_run_is_resumed(
    first: str, second: str, tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    for directory in (plain, changed):
        words = [f"execution={first}", "frames=300", "--run-dir", str(directory)]
        assert main(["run", str(tiny), *words]) == 0
    assert main(["resume", str(plain), "frames=400"]) == 0
    before = dense_weights(state(changed))
    assert main(["resume", str(changed), "frames=400", f"execution={second}"]) == 0
    assert f"execution: {second}" in capsys.readouterr().out

    record = json.loads((changed / "run.json").read_text())
    assert record["resumed"][-1]["with"] == ["frames=400", f"execution={second}"]
    assert record["resumed"][-1]["execution"]["backend"] == second
    saved = state(changed)["learner"]["loss"]
    weight = saved["critic.members.0.trunk.blocks.0.expand.weight"]
    assert weight.dim() == (1 if second == "sparse" else 2)

    a, b = dense_weights(state(plain)), dense_weights(state(changed))
    assert not same(a, before)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5, msg=name)
    for one, other in zip(lines(plain), lines(changed), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("first", "second"), EITHER)
def test_a_change_of_backend_loses_no_bit(
    first: str, second: str, tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    run = tmp_path / "run"
    words = [f"execution={first}", "frames=300", "--run-dir", str(run)]
    assert main(["run", str(tiny), *words]) == 0
    before = state(run)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop", STOPPED, raising=False)
        assert main(["resume", str(run), "frames=400", f"execution={second}"]) != 0
    there = state(run)
    assert not same(before["learner"]["loss"], there["learner"]["loss"])
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop", STOPPED, raising=False)
        assert main(["resume", str(run), "frames=400"]) != 0
    back = state(run)
    for key in ("learner", "networks", "masks", "policy", "random"):
        assert same(back[key], before[key]), key


def test_stopped_and_resumed_equals_undisturbed(
    tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ["execution=sparse", "frames=400"]
    assert main(["run", str(tiny), *words, "--run-dir", str(whole)]) == 0
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= 334:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert main(["run", str(tiny), *words, "--run-dir", str(parts)]) == 130
    assert main(["resume", str(parts)]) == 0
    assert lines(whole) == lines(parts)
    for key in ("learner", "networks", "masks", "policy", "random"):
        assert same(state(whole)[key], state(parts)[key]), key


def test_a_checkpoint_of_another_size_is_one_message(
    tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    words = ["execution=sparse", "frames=200", "--run-dir", str(run)]
    assert main(["run", str(tiny), *words]) == 0
    assert main(["resume", str(run), "masks.0.sparsity=0.5", "frames=300"]) == 2
    assert "'masks' cannot change" in capsys.readouterr().err
