"""Diagnostics and interventions in a run: when they are asked, and that they disturb nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.agent.masks import PackedMasks
from core.api import BatchOptions
from core.cli import main

PLUGIN = """
import numpy as np, torch
from dataclasses import dataclass, field
from core.api import BatchOptions, Component, UserError, hookimpl, require

@dataclass(frozen=True)
class Options:
    every: int | None = 100
    fails_at: int | None = None
    batch: BatchOptions = field(default_factory=lambda: BatchOptions(size=8))
    refuses: bool = False

class Nosy:
    '''Draws, backpropagates, and looks at everything.'''
    def __init__(self, options):
        self.every, self.batch, self.fails_at = options.every, options.batch, options.fails_at
    def measure(self, probe):
        if self.fails_at is not None and probe.frame >= self.fails_at:
            raise ZeroDivisionError("on purpose")
        analysed = probe.batch(self.batch)
        np.random.rand(); torch.randn(3)
        value = probe.loss.predict(analysed.batch).mean()
        grads = torch.autograd.grad(value, list(probe.networks["critic"].parameters()))
        probe.fresh("actor")
        return {"value": value, "draw": torch.rand(()), "grads": float(len(grads)),
                "matrix": torch.eye(3)}

class Change(Nosy):
    '''How much the critic's values change by one update.'''
    def before_update(self, probe):
        self.analysed = probe.batch(self.batch)
        self.before = probe.loss.predict(self.analysed.batch).detach()
    def measure(self, probe):
        after = probe.loss.predict(self.analysed.batch).detach()
        return {"change": (after - self.before).abs().mean()}

@dataclass(frozen=True)
class NudgeOptions:
    at: tuple[int, ...] = ()

class Nudge:
    batch = None
    def __init__(self, options): self.at = options.at
    def due(self, last, frame): return any(last < f <= frame for f in self.at)
    def intervene(self, subject):
        with torch.no_grad():
            for p in subject.networks["critic"].parameters():
                p.add_(torch.randn_like(p))
        return {"nudged": 1.0}

def build(kind):
    def make(options, context):
        if getattr(options, "refuses", False):
            raise UserError("refuses this agent")
        assert set(context.networks) >= {"critic"}
        return kind(options)
    return make

def needs(options):
    "What the batch needs."
    return options.batch.needs

@hookimpl
def register_diagnostics():
    return [
        Component("nosy", Options, build(Nosy), "looks", needs, instead={"replay": "or be bold"}),
        Component("change", Options, build(Change), "compares", needs),
    ]

@hookimpl
def register_interventions():
    return [Component("nudge", NudgeOptions, build(Nudge), "adds noise to the critic")]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "nosy.py"
    path.write_text(PLUGIN)
    return path


def run(preset: Path, directory: Path, *words: str) -> int:
    return main(["run", str(preset), *words, "--run-dir", str(directory)])


def lines(directory: Path, prefix: str) -> list[dict[str, float]]:
    """The lines that hold keys of this beginning, times left out."""
    read = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in read]
    return [line for line in kept if any(key.startswith(prefix) for key in line)]


def learner(directory: Path) -> Any:
    return torch.load(directory / "checkpoint" / "state.pt", weights_only=True)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def test_diagnostics_disturb_nothing(tiny: Path, tmp_path: Path, plugin: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    assert run(tiny, plain) == 0
    assert run(tiny, watched, "diagnostics=[nosy, change]", "--plugin", str(plugin)) == 0
    a, b = learner(plain), learner(watched)
    for key in ("learner", "random", "data", "environments", "policy"):
        assert same(a[key], b[key]), key
    assert lines(plain, "loss/") == lines(watched, "loss/")


def test_all_diagnostics_disturb_nothing(tiny: Path, tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    assert run(tiny, plain) == 0
    assert run(tiny, watched, "diagnostics=[{name: all, every: 150}]") == 0
    a, b = learner(plain), learner(watched)
    for key in ("learner", "random", "data", "environments", "policy"):
        assert same(a[key], b[key]), key


def test_schedule_first_and_last(tiny: Path, tmp_path: Path, plugin: Path) -> None:
    words = ("{name: nosy, every: 250}", "{name: change, every: null}")
    assert (
        run(tiny, tmp_path / "r", f"diagnostics=[{', '.join(words)}]", "--plugin", str(plugin)) == 0
    )
    # learning starts after 100 agent steps of 2 frames; the end of 600 frames is measured too
    steps = [line["step"] for line in lines(tmp_path / "r", "nosy/")]
    assert steps == [202, 250, 500, 600]
    (change,) = lines(tmp_path / "r", "change/change")
    assert change["step"] == 202
    assert change["change/change"] > 0
    matrices = sorted((tmp_path / "r" / "matrices" / "nosy" / "matrix").iterdir())
    assert [path.name for path in matrices] == [f"{step:010d}.npy" for step in steps]
    assert np.array_equal(np.load(matrices[0]), np.eye(3, dtype=np.float32))


def test_costs_are_reported(tiny: Path, tmp_path: Path, plugin: Path, capsys: Any) -> None:
    assert run(tiny, tmp_path / "r", "diagnostics=[nosy]", "--plugin", str(plugin)) == 0
    text = (tmp_path / "r" / "metrics.jsonl").read_text()
    costs = [json.loads(line).get("time/diagnostics/nosy") for line in text.splitlines()]
    assert sum(cost is not None and cost > 0 for cost in costs) == 5
    assert re.search(r"\ndiagnostics took [\d.]+ s, [\d.]+% of the time", capsys.readouterr().out)
    counters = learner(tmp_path / "r")["counters"]
    assert counters["measuring"] == pytest.approx(sum(cost or 0 for cost in costs), abs=1e-6)


def test_resumed_measures_the_same(
    tiny: Path, tmp_path: Path, plugin: Path, monkeypatch: Any
) -> None:
    import os
    import signal

    from core.training.loop import Run

    words = (
        "diagnostics=[{name: nosy, batch: {source: recent, size: 50}}, change]",
        "interventions=[{name: nudge, at: [330, 450]}]",
        "--plugin",
        str(plugin),
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(tiny, whole, *words) == 0
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= 384:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert run(tiny, parts, *words) == 130
    assert main(["resume", str(parts)]) == 0
    for prefix in ("nosy/", "change/", "nudge/", "loss/"):
        assert lines(whole, prefix) == lines(parts, prefix)
        assert lines(whole, prefix)
    assert same(learner(whole)["learner"], learner(parts)["learner"])


def test_an_intervention_changes_the_agent_and_masks_survive(
    tiny: Path, tmp_path: Path, plugin: Path
) -> None:
    plain, nudged = tmp_path / "plain", tmp_path / "nudged"
    words = ("interventions=[{name: nudge, at: [330]}]", "--plugin", str(plugin))
    assert run(tiny, plain) == 0
    assert run(tiny, nudged, *words) == 0
    a, b = learner(plain), learner(nudged)
    assert not same(a["learner"]["loss"], b["learner"]["loss"])
    assert [line["step"] for line in lines(nudged, "nudge/")] == [330]
    for name, mask in PackedMasks.restored(b["masks"]["masks"]["critic"]).items():
        weight = b["learner"]["loss"][f"critic.{name}"]
        assert not weight[~mask].any()
    before = [line for line in lines(plain, "loss/") if line["step"] < 330]
    assert before == [line for line in lines(nudged, "loss/") if line["step"] < 330]


def test_one_that_raises_is_left_out_and_the_run_goes_on(
    tiny: Path, tmp_path: Path, plugin: Path
) -> None:
    words = ("diagnostics=[{name: nosy, fails_at: 300}, change]", "--plugin", str(plugin))
    with pytest.warns(
        UserWarning, match=r"'nosy' \(nosy\.py \w+\) failed and is left out"
    ) as caught:
        assert run(tiny, tmp_path / "r", *words) == 0
    assert len([w for w in caught if "nosy" in str(w.message)]) == 1
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["outcome"] == "finished"
    (note,) = record["disabled"]
    assert note.pop("title").startswith("diagnostic 'nosy' (nosy.py ")
    assert note == {
        "what": "diagnostic 'nosy'",
        "frame": 300,
        "error": "ZeroDivisionError: on purpose",
    }
    assert [line["step"] for line in lines(tmp_path / "r", "nosy/")] == [202]
    assert len(lines(tmp_path / "r", "change/")) == 5


def test_refused_before_the_run(tiny: Path, tmp_path: Path, plugin: Path, capsys: Any) -> None:
    words = ("diagnostics=[{name: nosy, refuses: true}]", "--plugin", str(plugin))
    assert run(tiny, tmp_path / "r", *words) == 2
    assert "command line: diagnostics.0: refuses this agent" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_an_intervention_that_raises_is_named(tiny: Path, tmp_path: Path, plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace('return {"nudged": 1.0}', "raise ZeroDivisionError"))
    words = ("interventions=[{name: nudge, at: [330]}]", "--plugin", str(plugin))
    with pytest.raises(ZeroDivisionError) as caught:
        run(tiny, tmp_path / "r", *words)
    note, verdict = caught.value.__notes__
    assert note == "in intervention 'nudge' at frame 330"
    assert "plugin nosy.py" in verdict
    assert json.loads((tmp_path / "r" / "run.json").read_text())["outcome"] == "failed"


def test_twice_is_refused(tiny: Path, tmp_path: Path, plugin: Path, capsys: Any) -> None:
    words = ("diagnostics=[nosy, nosy]", "--plugin", str(plugin))
    assert run(tiny, tmp_path / "r", *words) == 2
    said = capsys.readouterr().err
    assert said == "command line: diagnostics.1: 'nosy' is there twice; keep one\n"


def test_replay_under_streaming_is_refused(tmp_path: Path, plugin: Path, capsys: Any) -> None:
    preset = Path(__file__).parents[3] / "presets" / "streaming_quickstart.yaml"
    words = ("diagnostics=[{name: nosy, batch: {source: replay}}]", "--plugin", str(plugin))
    assert run(preset, tmp_path / "r", *words) == 2
    message = capsys.readouterr().err
    assert message.startswith("command line: diagnostics.0: diagnostic 'nosy' (nosy.py ")
    assert "needs replay, which data source 'stream'" in message
    assert "replay would; or be bold" in message
    assert len(message.strip().splitlines()) == 1


def test_all_leaves_out_what_does_not_suit(
    tiny: Path, tmp_path: Path, plugin: Path, capsys: Any
) -> None:
    words = ("diagnostics=[{name: all, refuses: true}]", "--plugin", str(plugin))
    assert run(tiny, tmp_path / "r", *words) == 0
    out = capsys.readouterr().out
    (left,) = [line for line in out.splitlines() if line.startswith("left out of all: ")]
    assert {"nosy", "change"} <= set(left.partition(": ")[2].split(", "))
    resolved = (tmp_path / "r" / "resolved.yaml").read_text()
    assert "nosy" not in resolved
    assert main(["run", str(tiny), "diagnostics=[{name: all, evry: 5}]"]) == 2
    assert "no diagnostic has an option 'evry'" in capsys.readouterr().err


def test_a_changed_encoder_is_seen_by_the_next_intervention() -> None:
    from tests.support.agents import DRQ, DRQ_DDPG
    from tests.support.views import make_agent, make_view

    probe = make_view(make_agent(DRQ_DDPG, DRQ))
    before = probe.batch(BatchOptions(size=4)).batch["features"]
    assert probe.batch(BatchOptions(size=4)).batch["features"] is before
    with torch.no_grad():
        for parameter in probe.networks["encoder"].parameters():
            parameter.mul_(2)
    probe.reapply()
    assert not torch.equal(probe.batch(BatchOptions(size=4)).batch["features"], before)


def test_no_diagnostic_is_called_all(tmp_path: Path, tiny: Path, capsys: Any) -> None:
    path = tmp_path / "greedy.py"
    path.write_text(PLUGIN.replace('Component("nosy"', 'Component("all"'))
    assert run(tiny, tmp_path / "r", "--plugin", str(path)) == 2
    assert "no diagnostic may be called 'all'" in capsys.readouterr().err
