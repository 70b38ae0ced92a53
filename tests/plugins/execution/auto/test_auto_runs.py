"""``auto`` in whole runs: its record, its summary, and runs that go on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config.schema import DEFAULTS
from core.training.loop import Run
from plugins.execution.auto import rule
from plugins.execution.auto.rule import Choice
from plugins.execution.linear import native_product
from tests.conftest import PRESETS
from tests.support.run_directories import same

WIDER = [
    "network={name: simba, actor: {width: 64, blocks: 1}, critic: {width: 64, blocks: 1}}",
    "masks=[{name: erdos_renyi, target: all, sparsity: 0.8}]",
    "diagnostics=[]",
    "frames=320",
    "evaluation.every=null",
]
"""Wide enough for the rule to be unsure, and for no more."""

pytestmark = pytest.mark.skipif(
    native_product.available() is not None, reason="no compiled kernels"
)


def always(monkeypatch: Any, form: Any) -> None:
    """From now on the rule says this."""
    monkeypatch.setattr(rule, "choose", lambda chain, setting: Choice(form, "because"))


def words(preset: Path, directory: Path) -> list[str]:
    return ["run", str(preset), *WIDER, "--run-dir", str(directory)]


def interrupted(monkeypatch: Any, command: list[str]) -> None:
    """A run that is stopped half way."""
    iterate = Run._iterate

    def interrupt(self: Run, transitions: Any) -> Any:
        yield from iterate(self, transitions)
        if self.counters.frames >= 200:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_iterate", interrupt)
        assert main(command) == 130


def record(directory: Path) -> Any:
    return json.loads((directory / "run.json").read_text())


def choices(report: Any) -> set[str]:
    return {layer["choice"] for layer in report["layers"].values()}


def test_auto_is_the_default() -> None:
    assert DEFAULTS["execution"] == {"name": "auto"}


def test_the_choice_and_its_reason_are_in_the_record_and_on_the_screen(
    tiny: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    always(monkeypatch, "masked")
    line = "auto: 4 masked"
    assert main(words(tiny, tmp_path / "run")) == 0
    assert f"execution: {line}\n" in capsys.readouterr().out
    written = record(tmp_path / "run")
    assert written["summary"]["execution"] == line
    report = written["execution"]
    assert (report["backend"], report["batch_size"], report["threads"]) == ("auto", 16, 1)
    assert set(report["layers"]) == {
        f"{role}.{member}trunk.blocks.0.{layer}.weight"
        for role, member in (("actor", ""), ("critic", "members.0."))
        for layer in ("expand", "contract")
    }
    assert choices(report) == {"masked"}
    assert all(layer["reason"] == "because" for layer in report["layers"].values())


def test_a_resumed_run_keeps_its_choices_bit_for_bit(
    tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    always(monkeypatch, "compact")
    assert main(words(tiny, whole)) == 0
    interrupted(monkeypatch, words(tiny, parts))
    always(monkeypatch, "masked")
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)
    written = record(parts)
    assert choices(written["execution"]) == {"compact"}
    assert "execution" not in written["resumed"][0]


def test_execution_may_be_chosen_anew_on_resume(
    tiny: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    always(monkeypatch, "compact")
    interrupted(monkeypatch, words(tiny, tmp_path / "run"))
    always(monkeypatch, "masked")
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "run"), "execution=auto"]) == 0
    assert "execution: auto: 4 masked\n" in capsys.readouterr().out
    written = record(tmp_path / "run")
    assert choices(written["execution"]) == {"compact"}
    assert choices(written["resumed"][0]["execution"]) == {"masked"}


def test_describe_gives_the_reasons(
    tiny: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    always(monkeypatch, "compact")
    assert main(["describe", str(tiny), *WIDER]) == 0
    out = capsys.readouterr().out
    assert "execution: auto: 4 compact\n    4 compact: because" in out
    assert main(["describe", str(tiny), *WIDER, "execution=masked", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["execution"]["backend"] == "masked"


def test_the_sizes_that_describe_gives_do_not_depend_on_the_backend(
    tiny: Path, monkeypatch: Any, capsys: Any
) -> None:
    always(monkeypatch, "compact")
    found = []
    for name in ("auto", "sparse", "masked"):
        assert main(["describe", str(tiny), *WIDER, f"execution={name}", "--json"]) == 0
        described = json.loads(capsys.readouterr().out)
        sizes = [(n["role"], n["parameters"], n["kept"]) for n in described["networks"]]
        layers = [layer for network in described["networks"] for layer in network["layers"]]
        shapes = [(layer["name"], layer["shape"], layer["density"]) for layer in layers]
        found.append((sizes, shapes, described["update_madds"], described["kept_madds"]))
    assert found[0] == found[1] == found[2]


def test_a_streaming_run_goes_on_with_its_compact_rows_bit_for_bit(
    tmp_path: Path, monkeypatch: Any
) -> None:
    preset = tmp_path / "stream.yaml"
    preset.write_text(
        f"extends: {PRESETS / 'base' / 'streaming.yaml'}\n"
        "frames: 320\n"
        "environment: {id: Pendulum-v1, max_episode_steps: 60}\n"
        "network: {width: 128}\n"
        "masks: [{name: uniform, sparsity: 0.9}]\n"
        "evaluation: {every: null, episodes: 1}\n"
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["run", str(preset), "--run-dir", str(whole)]) == 0
    report = record(whole)["execution"]
    compact = {n for n, layer in report["layers"].items() if layer["choice"] == "compact"}
    assert {name.partition(".")[0] for name in compact} == {"actor", "critic"}
    assert choices(report) == {"compact", "masked"}
    interrupted(monkeypatch, ["run", str(preset), "--run-dir", str(parts)])
    assert main(["resume", str(parts)]) == 0
    assert same(whole, parts)
