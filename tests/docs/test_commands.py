"""Every command and preset that the README and the documentation show is one that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli import _parse, main
from core.config import load, resolve
from core.plugins import load_plugins
from tests.conftest import PRESETS
from tests.support.pages import DOCS

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SAVED = re.compile(r"`([\w.]+)`[^`\n]*:\n\n```\w+\n(.*?)```", re.DOTALL)
"""A file that a page has its reader make."""


def commands(page: str) -> Iterator[tuple[list[str], str]]:
    """Words after ``python -m core`` (``run`` for ``core.run``), and what is printed below."""
    for kind, block in re.findall(r"(?ms)^```(console|sh)\n(.*?)^```", page):
        prompt = re.escape("$ ") if kind == "console" else ""
        answers = r"((?:[^$\n].*\n)*)" if kind == "console" else "()"
        shown = block.replace("\\\n", "").replace("$seed", "0")
        command = rf"(?m)^{prompt}(?:.*?[ /])??python -m core(?:\.(run))? (.*)\n{answers}"
        for run, words, answer in re.findall(command, shown):
            split = shlex.split(words.removesuffix("; done"), comments=True)
            yield [*([run] if run else []), *split], answer


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the presets in it."""
    (tmp_path / "presets").symlink_to(PRESETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_are_understood_and_refusals_are_as_shown(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, refused = set(), 0
    plugins = load_plugins()
    for page in map(Path.read_text, PAGES):
        for name, content in SAVED.findall(page):
            (checkout / name).write_text(content)
        for words, answer in commands(page):
            if tuple(words) in seen:
                continue
            seen.add(tuple(words))
            options = _parse(words)
            if words[0] != "run" or not all(map(Path.exists, map(Path, options.plugin))):
                continue
            presets = [word for word in options.presets if "=" not in word]
            if answer.startswith(("command line: ", "presets/")):
                refused += 1
                assert main(words) == 2
                assert capsys.readouterr().err == answer
            elif options.plugin or all(preset.startswith("presets/") for preset in presets):
                offered = load_plugins(options.plugin) if options.plugin else plugins
                resolve(load(presets, options.presets[len(presets) :]), offered)
    assert len(seen) > 100
    assert refused >= 14


def test_presets_that_are_shown_are_sound(checkout: Path) -> None:
    plugins, sound = load_plugins(), 0
    for page in PAGES:
        for preset in re.findall(r"(?ms)^```yaml\n(extends: .*?)^```", page.read_text()):
            if "saturation" in preset or "openwork-" in preset or "dealt" in preset:
                continue
            sound += 1
            (checkout / "mine.yaml").write_text(preset)
            resolve(load(["mine.yaml"]), plugins)
    assert sound >= 6
