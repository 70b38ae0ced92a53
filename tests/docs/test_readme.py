"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from core.cli import main
from core.plugins import load_plugins
from tests.conftest import PRESETS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(starting: str) -> str:
    """The fenced block whose first line starts with ``starting``."""
    blocks = re.findall(r"(?ms)^```\w+\n(.*?)^```$", README)
    (found,) = [text for text in blocks if text.startswith(starting)]
    return str(found)


def test_the_plugin_of_the_readme_trains(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "checkers.py").write_text(block("# checkers.py"))
    plugin = ["--plugin", str(tmp_path / "checkers.py")]
    mask = "masks=[{name: checkers, every: 3}]"
    run = ["--run-dir", str(tmp_path / "run")]
    assert main(["run", str(tiny), mask, "frames=300", *plugin, *run]) == 0
    assert "critic: 2,321 parameters" in capsys.readouterr().out
    assert main(["run", str(tiny), "masks=[{name: checkers, every: 1}]", *plugin]) == 2
    assert (
        "every: must be at least 2, got 1 (mask 'checkers' (checkers.py" in capsys.readouterr().err
    )
    assert load_plugins([tmp_path / "checkers.py"]).find("masks", "checkers")


def test_the_streaming_preset_of_the_readme() -> None:
    shown = yaml.safe_load(block("extends: state_sparse.yaml"))
    assert shown == yaml.safe_load((PRESETS / "state_streaming.yaml").read_text())


def test_every_preset_is_listed_and_every_file_named_exists() -> None:
    for preset in PRESETS.glob("*.yaml"):
        assert f"`{preset.stem}`" in README, preset
    for path in re.findall(r"\]\(([\w/.-]+)\)", README) + re.findall(
        r"presets/[\w/]+\.yaml", README
    ):
        assert (ROOT / path).exists(), path
