"""The documentation says what the code does: signatures, options, metrics, files, examples."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.api.hookspecs import KINDS
from core.cli import main
from core.cli.resume import CHANGEABLE
from core.config import load, resolve
from core.plugins import load_plugins
from tests.conftest import PRESETS
from tests.support.pages import DOCS, blocks, first_column, text

WATCHED = [
    "diagnostics=[{name: all, every: 110, batch: {size: 32}, samples: 8, points: 16, tail: 0.9, "
    "activations: [pre, post]}]"
]
CHANGED = [
    "interventions=[{name: periodic_reset, at: [310]}, {name: shrink_and_perturb, at: [320]}, "
    "{name: redo, at: [330], batch: {size: 32}}]",
    "masks=[{name: rigl, sparsity: 0.8, every: 100, batch: {size: 32}}]",
]
STREAMED = ["network={name: stream_mlp, width: 16}", "optimizer=obgd", "data=stream"]
DISCRETE = ["loss=stream_q", "environment={name: gymnasium, id: CartPole-v1}"]


# --- pages made from the code -----------------------------------------------------------


def test_every_option_is_explained() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages = generate.pages()
    assert set(KINDS) < {name.removesuffix(".md") for name in pages}
    bare = r"(?m)^: .*(?:required|default `[^`]*`)\.$"
    assert re.findall(bare, pages["options.md"]) == []


def quoted(words: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", words))


# --- a run ------------------------------------------------------------------------------


def broken(*arguments: Any) -> Any:
    raise ZeroDivisionError("on purpose")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tiny runs of every loss; that of SAC is resumed once, and then a diagnostic raises."""
    folder = tmp_path_factory.mktemp("docs")
    tiny = folder / "tiny.yaml"
    tiny.write_text(
        f"extends: {PRESETS / 'quickstart.yaml'}\n"
        "frames: 340\n"
        "environment: {task: cartpole-swingup, time_limit: 2}\n"
        "network: {actor: {width: 16}, critic: {width: 16, blocks: 1}}\n"
        "data: {capacity: 400, batch_size: 16, learning_starts: 100}\n"
        "collect: {random_frames: 200}\n"
        "evaluation: {every: 200, episodes: 1, final_episodes: 1}\n"
        "log_every: 100\n"
        "threads: 1\n"
    )
    agents = {
        "sac": [*WATCHED, *CHANGED],
        "ddpg": ["loss={name: ddpg, critics: 2}", "frames=240", "diagnostics=[]"],
        "stream_ac": [*WATCHED, *STREAMED, "loss={name: stream_ac, overshoot_check: true}"],
        "stream_q": [*STREAMED, *DISCRETE, "frames=240", "diagnostics=[]"],
    }
    directories = [folder / name for name in agents]
    for directory, overrides in zip(directories, agents.values(), strict=True):
        assert main(["run", str(tiny), *overrides, "--run-dir", str(directory)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plugins.diagnostics.feature_norm.feature_norm", broken)
        with pytest.warns(UserWarning, match="left out"):
            assert main(["resume", str(directories[0]), "frames=360"]) == 0
    return directories


PLACEHOLDERS = {
    "ROLE": r"(encoder|actor|critic)",
    "LABEL": r"(encoder|actor|critic)(\.\d+)?",
    "LAYER": r"(encoder|actor|critic)(\.\w+)+",
    "PHASE": r"[a-z_]+",
    "TAU": r"\d\.?\d*",
    "DIAGNOSTIC": r"[a-z_]+",
}
"""What the names on the page of metrics have in capitals."""


def pattern(name: str) -> re.Pattern[str]:
    parts = [PLACEHOLDERS.get(part) or re.escape(part) for part in name.split("/")]
    return re.compile("/".join(parts))


def test_every_metric_is_explained_and_no_other(runs: list[Path]) -> None:
    logged = {
        key
        for directory in runs
        for line in (directory / "metrics.jsonl").read_text().splitlines()
        for key in json.loads(line)
    }
    matrices = {path.parent for run in runs for path in (run / "matrices").rglob("*.npy")}
    assert all(np.load(next(folder.iterdir())).shape == (8, 8) for folder in matrices)
    logged |= {str(folder)[str(folder).index("matrices/") :] for folder in matrices}
    page = {name: pattern(name) for name in first_column("reference/metrics.md")}
    unexplained = {key for key in logged if not any(p.fullmatch(key) for p in page.values())}
    unlogged = {name for name, p in page.items() if not any(map(p.fullmatch, logged))}
    assert unexplained == set()
    assert unlogged == set()


def test_the_record_and_the_checkpoint_are_explained(runs: list[Path]) -> None:
    record = set(json.loads((runs[0] / "run.json").read_text()))
    state = set(torch.load(runs[0] / "checkpoint" / "state.pt", weights_only=True))
    assert record | state == first_column("reference/run-directory.md")
    for path in runs[0].iterdir():
        assert path.name in text("reference/run-directory.md")


# --- command line and presets -----------------------------------------------------------


def test_every_argument_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    page = text("reference/command-line.md")
    for verb in ("run", "resume", "describe", "report", "watch"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        for option in re.findall(r"--[a-z-]+", capsys.readouterr().out):
            assert option in page, option
    changeable = ", ".join(f"`{key}`" for key in CHANGEABLE)
    for where in ("reference/command-line.md", "how-to/stop-and-resume.md"):
        assert changeable in " ".join(text(where).split())


def test_every_preset_is_listed() -> None:
    named = {name for name in first_column("reference/presets.md") if name.endswith(".yaml")}
    assert named == {str(path.relative_to(PRESETS)) for path in PRESETS.rglob("*.yaml")}


def test_the_presets_measure_what_the_page_says() -> None:
    said = "`dormant_ratio`, `effective_rank`, `gradient_norm` and `parameter_norm`, every 10,000"
    assert said.replace(" ", "") in re.sub(r"\s", "", text("reference/presets.md"))
    for preset in PRESETS.glob("*.yaml"):
        config = resolve(load([str(preset)]), load_plugins())
        assert {s.component.name for s in config.diagnostics} == quoted(said)
        assert {s.options.every for s in config.diagnostics} == {10_000}


def test_every_command_names_files_that_exist() -> None:
    for page in DOCS.rglob("*.md"):
        text = page.read_text()
        saved = re.findall(r"`([\w/.]+)`:\n\n```", text)  # what the reader makes
        for path in re.findall(r"(?<![\w/])(?:presets|tests|docs|bench)/[\w/]+\.\w+", text):
            exists = (PRESETS.parent / path).is_file()
            assert exists or path in saved, f"{page.name}: {path}"


# --- tutorials --------------------------------------------------------------------------


def test_the_first_run_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = text("tutorials/first-run.md")
    quickstart = str(PRESETS / "quickstart.yaml")
    assert main(["describe", quickstart, "--json"]) == 0
    for network in json.loads(capsys.readouterr().out)["networks"]:
        total, kept = network["parameters"], network["kept"]
        line = f"{network['role']}: {total:,} parameters, {kept:,} kept ({kept / total:.1%})"
        assert line in page
    quick = resolve(load([quickstart]), load_plugins())
    assert f"Every {quick.run.evaluation.every:,} frames an evaluation" in page
    starts = quick.data.options.learning_starts * quick.environment.options.action_repeat
    assert quick.run.collect.random_frames is None
    assert f"The first {starts:,} frames are random" in page


def test_the_python_api_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    code = "\n".join(blocks("reference/python-api.md", "python"))
    code = code.replace("presets/quickstart.yaml", str(tiny)).replace(
        'config = resolve(load(["runs/mine/resolved.yaml"]), plugins)', ""
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "python-api.md", "exec"), {"observations": torch.zeros(1, 5)})
