"""Runs that go wrong: what is said, and what is left on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.api.errors import UserError
from core.cli import main
from core.training import checkpoint

POISON = """
from dataclasses import dataclass
import torch
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    after: int = 100

def build(options, context):
    class Poisoned(torch.optim.Adam):
        '''Adam that writes NaN into the critic's weights after so many steps.'''
        taken = 0
        def step(self, closure=None):
            super().step(closure)
            self.taken += 1
            if self.taken == options.after:
                for group in self.param_groups:
                    for p in group['params']:
                        p.data.fill_(float('nan'))
    return lambda parameters, overrides, phase: Poisoned(parameters, lr=1e-4)

@hookimpl
def register_optimizers():
    return [Component("poisoned", Options, build, "turns to NaN")]
"""

LOGGER = """
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    pass

class Logger:
    def write(self, step, scalars):
        raise OSError("disk on fire")
    def video(self, step, path): ...
    def close(self): ...

@hookimpl
def register_loggers():
    return [Component("burning", Options, lambda o, c: Logger(), "fails")]
"""

BUILD = """
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    pass

def build(options, context):
    raise RuntimeError("cannot be built")

@hookimpl
def register_masks():
    return [Component("unbuildable", Options, build, "fails")]
"""


def plugin(folder: Path, text: str) -> list[str]:
    path = folder / "faulty.py"
    path.write_text(text)
    return ["--plugin", str(path)]


def test_a_nan_stops_the_run_with_everything_on_disk(
    tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    arguments = ["run", str(tiny), "optimizer={name: poisoned, after: 150}"]
    assert main([*arguments, *plugin(tmp_path, POISON), "--run-dir", str(run)]) == 1
    out = capsys.readouterr().out
    # Two frames a step, an update a step from the 101st on: update 150 is at frame 500. Its
    # actor phase ends with NaN weights, which its critic phase is the first to use.
    assert "stopped: frame 500: 'loss/critic' became non-finite at update 150" in out
    assert "last good checkpoint: frame 390" in out
    state = checkpoint.read(run)
    assert state["counters"]["frames"] == 390
    assert all(v.isfinite().all() for v in state["learner"]["loss"].values())
    steps = [json.loads(x)["step"] for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 400
    assert json.loads((run / "run.json").read_text())["outcome"] == "failed"


def test_a_nan_before_the_first_checkpoint_says_so(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["run", str(tiny), "optimizer={name: poisoned, after: 5}", "checkpoint.every=null"]
    run = ["--run-dir", str(tmp_path / "run")]
    assert main([*arguments, *plugin(tmp_path, POISON), *run]) == 1
    assert "no checkpoint had been written yet" in capsys.readouterr().out


def test_a_failing_logger_is_left_out_and_the_run_goes_on(tiny: Path, tmp_path: Path) -> None:
    arguments = ["run", str(tiny), "frames=200", "loggers=[burning, tensorboard]"]
    run = ["--run-dir", str(tmp_path / "run")]
    with pytest.warns(UserWarning, match=r"logger 'burning' \(faulty\.py .*disk on fire"):
        assert main([*arguments, *plugin(tmp_path, LOGGER), *run]) == 0
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_a_plugin_that_cannot_be_built_is_named(tiny: Path, tmp_path: Path) -> None:
    arguments = ["run", str(tiny), "masks=[unbuildable]", "--run-dir", str(tmp_path / "run")]
    with pytest.raises(RuntimeError, match="cannot be built") as caught:
        main([*arguments, *plugin(tmp_path, BUILD)])
    assert any("mask 'unbuildable' (faulty.py " in note for note in caught.value.__notes__)
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_one_message(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert main(["run", str(tiny), "frames=100", "--run-dir", str(run)]) == 0
    path = run / "checkpoint" / "state.pt"
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["resume", str(run), "frames=200"]) == 2
    assert "the checkpoint cannot be read" in capsys.readouterr().err


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "sprung").touch, ())

    folder = tmp_path / "checkpoint"
    folder.mkdir()
    torch.save({"format": checkpoint.FORMAT, "trap": Trap()}, folder / "state.pt")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.read(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_removed_weight_that_comes_back_is_found(tiny: Path, tmp_path: Path) -> None:
    revive = POISON.replace("float('nan')", "1.0").replace("poisoned", "reviving")
    arguments = ["run", str(tiny), "optimizer={name: reviving, after: 20}"]
    with pytest.raises(AssertionError, match="a removed weight of 'actor' is not zero"):
        main([*arguments, *plugin(tmp_path, revive), "--run-dir", str(tmp_path / "run")])


NETWORK = """
import plugins.networks as own
from core.api import Component, hookimpl

(simba,) = [c for c in own.register_networks() if c.name == "simba"]

@hookimpl
def register_networks():
    return [Component("headless", simba.options, simba.build, "no trunk is promised")]
"""


def test_features_of_a_network_that_has_none_are_refused(
    tiny: Path, tmp_path: Path, capsys: Any
) -> None:
    plugin = tmp_path / "headless.py"
    plugin.write_text(NETWORK)
    words = ["network={name: headless}", "diagnostics=[effective_rank]", "--plugin", str(plugin)]
    assert main(["run", str(tiny), *words, "--run-dir", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "diagnostic 'effective_rank' (openwork " in said
    assert "needs features, which network 'headless' (headless.py " in said
    assert "simba, stream_cnn, stream_mlp would; or leave the diagnostic out" in said
    assert not (tmp_path / "r").exists()
