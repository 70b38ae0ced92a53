"""The tutorial "write a pruning scheme", done as written, by someone who has only Openwork."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from core.agent.masks import PackedMasks
from core.cli import main
from plugins.testing import suite_for
from tests.downstream.conftest import Environment

PAGE = (Path(__file__).parents[2] / "docs/tutorials/write-a-mask.md").read_text()
STEP = re.compile(
    r"(?:`([\w/.]+)`:\n\n```(?:python|yaml)|```(console))\n(.*?)^```", re.MULTILINE | re.DOTALL
)
LAYER = "trunk.blocks.0.expand.weight"


@dataclass(frozen=True)
class Step:
    """A file to save, or commands to give."""

    file: str
    """Empty: commands."""
    text: str


def steps() -> Iterator[Step]:
    for file, _, text in STEP.findall(PAGE):
        yield Step(file, text)


@dataclass(frozen=True)
class Done:
    """Where the tutorial led to."""

    package: Path
    printed: dict[str, str]
    """What each command printed."""

    def record(self, run: str) -> Any:
        return json.loads((self.package / "runs" / run / "run.json").read_text())

    def metrics(self, run: str) -> list[dict[str, float]]:
        text = (self.package / "runs" / run / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def state(self, run: str) -> Any:
        return torch.load(self.package / "runs" / run / "checkpoint/state.pt", weights_only=True)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Every file saved and every command given, in the page's order."""
    folder = tmp_path_factory.mktemp("tutorial")
    variables = Environment(folder / "venv").variables()
    here = folder / "empty"
    here.mkdir()
    printed: dict[str, str] = {}
    for step in steps():
        if step.file:
            (here / step.file).write_text(step.text)
            continue
        for command in re.findall(r"(?m)^\$ (.*)$", step.text):
            if command.startswith("cd "):
                here = here / command.removeprefix("cd ")
                continue
            ended = subprocess.run(
                ["sh", "-c", command],
                cwd=here,
                env=variables,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, f"$ {command}\n{ended.stdout}\n{ended.stderr}"
            printed[command] = ended.stdout
    return Done(here, printed)


def test_every_block_is_a_file_or_a_command() -> None:
    found = list(steps())
    assert len(found) == len(re.findall(r"(?m)^```(?:python|yaml|console)$", PAGE))
    assert [step.file for step in found if step.file] == [
        "src/openwork_dealt/scheme.py",
        "dealt.yaml",
        "src/openwork_dealt/__init__.py",
        "src/openwork_dealt/scheme.py",
        "tests/test_dealt.py",
    ]


def test_what_is_shown_is_what_is_printed(done: Done) -> None:
    shown = {
        command: output
        for step in steps()
        for command, output in re.findall(r"(?m)^\$ (.*)\n((?:[^$].*\n)+)", step.text)
    }
    assert len(shown) == 2
    for command, output in shown.items():
        wanted = re.escape(output.rstrip("\n").removesuffix("  ...").rstrip("\n"))
        # how long they take may differ
        wanted = re.sub(r"\d+\\\.\d", r"\\d+\\.\\d", wanted)
        assert re.match(wanted, done.printed[command]), (command, done.printed[command])


def test_the_agents_trained_with_the_new_scheme(done: Done) -> None:
    for run, frames in (("dealt", 4_000), ("exchanged", 2_000)):
        record, metrics = done.record(run), done.metrics(run)
        assert record["outcome"] == "finished"
        (component,) = [c for c in record["components"] if c["name"] == "dealt"]
        assert component["provider"]["distribution"] == "openwork-dealt"
        assert component["provider"]["version"] == "0.1.0"
        assert metrics[-1]["step"] == frames
        assert metrics[-1]["eval/episodes"] == 3
        assert any(line.get("loss/critic", 0) > 0 for line in metrics)
        masks = PackedMasks.restored(done.state(run)["masks"]["masks"]["actor"])
        weight = done.state(run)["learner"]["loss"][f"actor.{LAYER}"]
        assert masks[LAYER].shape == (256, 64)
        assert (masks[LAYER].sum(1) == 6).all()
        assert weight.count_nonzero() <= masks.kept(LAYER)


def test_the_inputs_are_dealt(done: Done) -> None:
    """10 hands of 6 cards to a deck of 64: 26 decks for 256 units, so none is read more often."""
    masks = PackedMasks.restored(done.state("dealt")["masks"]["masks"]["actor"])
    readers = masks[LAYER].sum(0)
    assert readers.sum() == 256 * 6
    assert readers.max() <= 26
    assert readers.min() > 10
    assert not any("mask/grown/critic" in line for line in done.metrics("dealt"))


def test_inputs_are_exchanged_at_the_frames_of_the_schedule(done: Done) -> None:
    lines = [line for line in done.metrics("exchanged") if "mask/grown/critic" in line]
    units = lines[0]["mask/grown/critic"]
    frames = [line["step"] // 250 for line in lines]
    assert frames == sorted(set(frames))
    assert len(lines) >= 4
    assert units > 100
    for line in lines:
        assert line["mask/grown/critic"] == line["mask/dropped/critic"] == units
    kept = [
        PackedMasks.restored(done.state(run)["masks"]["masks"]["critic"])
        for run in ("dealt", "exchanged")
    ]
    assert {name: kept[0].kept(name) for name in kept[0]} == {
        name: kept[1].kept(name) for name in kept[1]
    }
    assert kept[0] != kept[1]


def test_its_own_tests_are_the_suite_and_one_more(done: Done) -> None:
    passed = re.search(r"(\d+) passed", done.printed["python -m pytest"])
    assert passed is not None
    assert int(passed[1]) > 12


def test_the_density_is_what_the_page_says(done: Done) -> None:
    assert "6 / 64 = 0.0938" in PAGE
    described = done.printed["python -m core describe dealt.yaml"]
    assert re.search(rf"{re.escape(LAYER)} +256 x 64 +0\.0938", described)


def test_the_failure_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check says of ``deal`` without its generator."""
    source = next(step.text for step in steps() if step.file.endswith("scheme.py"))
    wrong = source.replace("deck, generator=generator)", "deck)")
    assert wrong != source
    assert main(["plugins", "new", "dealt", str(tmp_path), "--kind", "mask"]) == 0
    (tmp_path / "src/openwork_dealt/scheme.py").write_text(wrong)
    monkeypatch.syspath_prepend(tmp_path / "src")
    suite: Any = suite_for("masks", "dealt", plugin="openwork_dealt")()
    with pytest.raises(AssertionError) as failed:
        suite.test_draws_from_its_generator_alone()
    message = str(failed.value).splitlines()[0]
    assert f"    failed draws_from_its_generator_alone: {message}\n" in PAGE
    for name in ("openwork_dealt", "openwork_dealt.scheme"):
        del sys.modules[name]
