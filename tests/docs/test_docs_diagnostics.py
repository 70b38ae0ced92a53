"""The pages on diagnostics, interventions and reports say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from core.cli import main
from core.plugins import load_plugins
from tests.conftest import PRESETS
from tests.support.pages import blocks, first_column, text
from tests.support.recorded import write_run

MEASURE, RESET, REPORT = (
    f"how-to/{name}.md" for name in ("measure-an-agent", "reset-an-agent", "report")
)
TUTORIAL = "tutorials/write-a-diagnostic.md"
SHORT = [
    "frames=420",
    "data.learning_starts=200",
    "environment.time_limit=1",
    "evaluation={every: null, episodes: 1, final_episodes: 1}",
    "network={actor: {width: 16}, critic: {width: 16}}",
    "data.batch_size=8",
    "threads=1",
]


# --- what there is ----------------------------------------------------------------------


def test_every_component_is_explained() -> None:
    plugins = load_plugins()
    names = {
        kind: {c.name for c in plugins.components(kind)} for kind in ("diagnostics", "figures")
    }
    explained = re.findall(r"(?m)^\*\*`(\w+)`\.\*\*", text("explanation/diagnostics.md"))
    assert set(explained) == names["diagnostics"]
    assert first_column(RESET) >= {c.name for c in plugins.components("interventions")}
    listed = text("reference/command-line.md").partition("`--figures NAME,NAME`\n")[2]
    assert names["figures"] <= set(re.findall(r"`(\w+)`", listed.partition("\n\n")[0]))


@pytest.fixture
def at_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the files of the tutorial in it."""
    (code,), (preset,) = blocks(TUTORIAL, "python"), blocks(TUTORIAL, "yaml")
    (tmp_path / "saturation.py").write_text(code)
    (tmp_path / "saturation.yaml").write_text(preset)
    (tmp_path / "presets").symlink_to(PRESETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# --- runs -------------------------------------------------------------------------------


def test_one_that_raises_is_reported_as_shown_and_others_can_be_resumed_with(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def features(*arguments: Any) -> dict[str, torch.Tensor]:
        return {"critic": torch.full((2, 2), torch.nan)}

    monkeypatch.setattr("plugins.diagnostics.activations.features", features)
    run = tmp_path / "run"
    words = ["diagnostics=[effective_rank]", "evaluation={every: null, final_episodes: 1}"]
    with pytest.warns(UserWarning, match="left out") as caught:
        assert main(["run", str(tiny), *words, "frames=220", "--run-dir", str(run)]) == 0
    said = [str(w.message) for w in caught if "effective_rank" in str(w.message)]
    assert f"```\nUserWarning: {said[0]}\n```" in text(MEASURE)
    (note,) = json.loads((run / "run.json").read_text())["disabled"]
    assert note["what"] == "diagnostic 'effective_rank'"

    resolved = (run / "resolved.yaml").read_text()
    assert main(["resume", str(run), "frames=240", "diagnostics=[parameter_norm]"]) == 0
    measured = [line["step"] for line in logged(run) if "parameter_norm/critic" in line]
    assert measured == [222, 240]
    assert (run / "resolved.yaml").read_text() == resolved  # holds for once


def test_the_diagnostic_of_the_tutorial_is_measured_and_drawn(at_the_tutorial: Path) -> None:
    plugin = ["--plugin", "saturation.py"]
    assert main(["run", "saturation.yaml", *SHORT, *plugin, "--run-dir", "runs/saturated"]) == 0
    measured = [line for line in logged(Path("runs/saturated")) if "saturation/share" in line]
    assert [line["step"] for line in measured] == [402, 420]
    assert all(0 <= line["saturation/share"] <= line["saturation/mean"] / 0.9 for line in measured)
    assert all("time/diagnostics/saturation" in line for line in measured)

    assert main(["report", "runs/saturated", "--figures", "diagnostics"]) == 0
    assert Path("runs/saturated/report/pictures/saturation.svg").is_file()
    assert "<h3>Saturation</h3>" in Path("runs/saturated/report/index.html").read_text()

    streamed = ["presets/streaming_quickstart.yaml", "diagnostics=[saturation]", *plugin]
    short = ["frames=280", "network.width=16", "evaluation={every: null, episodes: 1}"]
    short += ["environment.max_episode_steps=50"]
    assert main(["run", *streamed, *short, "--run-dir", "streamed"]) == 0
    assert "saturation/share" in Path("streamed/metrics.jsonl").read_text()


# --- reports ----------------------------------------------------------------------------


def test_the_report_finds_fault_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = Path("runs/study")
    study.mkdir(parents=True)
    (empty,) = re.findall(r"(?m)^\$ .*\n(.*: it is empty\n)", text(REPORT))
    assert main(["report", "runs/study"]) == 2
    assert capsys.readouterr().err == empty

    write_run(study / "sparse-s0")
    write_run(study / "sparse-s1", seed=1, outcome=None, reached=30_000)
    failed = {"what": "diagnostic 'churn'", "frame": 20_000, "error": "ValueError: example"}
    write_run(study / "sparse-s2", seed=2, disabled=[failed])
    metrics = study / "sparse-s1" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    lines[19] = lines[19][:20] + "\n"
    metrics.write_text("".join(lines))
    assert main(["report", "runs/study", "--figures", "returns", "--format", "png"]) == 0
    told = capsys.readouterr()
    assert f"```\n{told.err}```" in text(REPORT)
    assert told.out.startswith("quickstart: sparse-s0, sparse-s1, sparse-s2\n")
    assert {path.name for path in (study / "report").iterdir()} == {"index.html", "pictures"}
