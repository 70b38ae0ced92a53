"""``python -m core report`` never stumbles over a run, nor over a figure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.commands.report.reports import FEW, SHORT, page_of, report, text_of
from tests.support.recorded import write_run

FIGURES = """
from dataclasses import dataclass
from matplotlib import pyplot
from core.api import Component, Picture, hookimpl

@dataclass(frozen=True)
class Options:
    pass

def picture(name, section="Mine"):
    figure, axes = pyplot.subplots()
    axes.plot([1, 2], label="<b>&amp;")
    axes.legend()
    return Picture(name, section, "A title & more", "<i>caption</i>", figure, folded=name == "folded")

class Figure:
    def __init__(self, names, error=None):
        self.names, self.error = names, error
    def draw(self, study):
        for name in self.names:
            yield picture(name)
        if self.error is not None:
            raise self.error

def fails(options, context):
    raise RuntimeError("not even built")

BUILDS = {
    "good": lambda options, context: Figure(["plain", "folded"]),
    "breaks": lambda options, context: Figure(["before"], ValueError("in the <middle>")),
    "builds_not": fails,
    "twice": lambda options, context: Figure(["again", "again"]),
    "escapes": lambda options, context: Figure(["../outside"]),
}

@hookimpl
def register_figures():
    return [Component(name, Options, build, "for a test") for name, build in BUILDS.items()]
"""


@pytest.fixture
def figures(tmp_path: Path) -> list[str]:
    """A plugin with figures that work and figures that do not."""
    path = tmp_path / "figures.py"
    path.write_text(FIGURES)
    return ["--plugin", str(path), "--figures"]


# --- whatever the state of the runs -----------------------------------------------------


def problems_of(directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The page's box, which the process says on stderr too."""
    page = page_of(directory)
    box = text_of(page[page.index('id="problems"') : page.index('id="runs"')])
    told = capsys.readouterr().err.splitlines()
    assert told
    for line in told:
        assert line.partition(": ")[2] in box
    return box


def test_states_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "states"
    error = {"what": "diagnostic 'churn'", "frame": 10_000, "error": "ValueError: <odd>"}
    write_run(folder / "going-on", reached=20_000, outcome=None)
    write_run(folder / "failed", reached=10_000, outcome="failed", disabled=[error])
    stopped = write_run(folder / "stopped", reached=10_000, outcome="interrupted")
    whole = write_run(folder / "whole", **SHORT)
    record = json.loads((whole / "run.json").read_text())
    record |= {
        "resumed": [{"frame": 5_000, "with": ["frames=10000"]}],
        "broken_plugins": ["x 1: no"],
    }
    (whole / "run.json").write_text(json.dumps(record))
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10000, "loss/critic": null}\n?\n{"step": 11')
    assert report(folder, *FEW) == 0
    box = problems_of(folder / "report", capsys)
    expected = [
        "going-on it is still running or was killed; last seen at frame 20,000 of 60,000",
        "failed it failed at frame 10,000 of 60,000; what stopped it stands in its output",
        "diagnostic 'churn' failed at frame 10,000 and was left out from then on: ValueError: <odd>",
        "stopped metrics.jsonl: line 15 is damaged and was left out",
        f"it was interrupted at frame 10,000 of 60,000; go on with: python -m core resume {stopped}",
        "loss/critic: 1 of 5 numbers are not finite, the first at frame 10,000",
        "whole an installed plugin could not be loaded: x 1: no",
    ]
    for sentence in expected:
        assert sentence in box
    text = text_of(page_of(folder / "report"))
    assert "going-on 0 20,000 of 60,000 still running or killed" in text
    assert "whole 0 10,000 finished; resumed at 5,000" in text
    assert f"python -m core resume {whole} frames=10000" in text


def test_nothing_but_damage_is_a_page_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lost"
    for name, content in {"empty": "", "garbage": "\0\0{[?\n<b>\n"}.items():
        (folder / name).mkdir(parents=True)
        for file in ("run.json", "resolved.yaml", "metrics.jsonl"):
            (folder / name / file).write_text(content)
    (folder / "bare" / "checkpoint").mkdir(parents=True)
    assert report(folder) == 0
    box = problems_of(folder / "report", capsys)
    assert "bare run.json is missing resolved.yaml is missing metrics.jsonl is missing" in box
    assert "empty run.json is damaged: line 1: Expecting value resolved.yaml is empty" in box
    assert "metrics.jsonl: 2 damaged lines were left out: 1, 2 metrics.jsonl holds no" in box
    text = text_of(page_of(folder / "report"))
    assert "There is nothing to draw: no run holds numbers that a figure shows." in text
    assert "garbage – – unknown – – –" in text
    assert text.count("Not known: there is no resolved.yaml that can be read.") == 3
    assert "Not known: no run has a run.json that can be read." in text


ODD: list[Any] = [None, 3, "text", [], {}, [1], {"a": 1}, [{"at": None, "provider": 3}]]


def test_records_of_odd_types_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    for i, odd in enumerate(ODD):
        run = write_run(tmp_path / "odd" / f"run-{i}", diagnostics=False, **SHORT)
        record = dict.fromkeys(json.loads((run / "run.json").read_text()), odd) | {"resumed": odd}
        (run / "run.json").write_text(json.dumps(record | {"disabled": odd}))
        config = dict.fromkeys(["seed", "frames", "masks", "loss", "network"], odd)
        (run / "resolved.yaml").write_text(json.dumps(config))
    assert report(tmp_path / "odd", *FEW) == 0
    page = text_of(page_of(tmp_path / "odd" / "report"))
    assert all(f"run-{i} " in page for i in range(len(ODD)))


def test_texts_of_a_run_are_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    run = write_run(tmp_path / "<i>run", changes={"environment.task": evil, "loss.gamma": evil})
    record = json.loads((run / "run.json").read_text())
    record |= {"openwork": evil, "outcome": evil, "broken_plugins": [evil], "command": [evil, evil]}
    record["set_by"]["loss.tau"] = evil
    record["components"][0] |= {"at": evil, "name": evil}
    (run / "run.json").write_text(json.dumps(record))
    other = write_run(tmp_path / "other", sparsity=None)
    assert report(run, other, *FEW, "--out", tmp_path / "out") == 0
    page = page_of(tmp_path / "out")
    assert "<script" not in page
    assert "<i>run" not in page
    assert text_of(page).count("<script>alert(1)</script>\"'&") >= 8


# --- figures ----------------------------------------------------------------------------


def test_a_figure_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, figures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from matplotlib import pyplot

    pyplot.close("all")  # what other tests left
    run = write_run(tmp_path / "run", **SHORT)
    names = "breaks,builds_not,twice,escapes,good,returns"
    assert report(run, *figures, names, "--format", "svg") == 0
    box = problems_of(run / "report", capsys)
    provider = r"\(figures\.py [0-9a-f]{12}\)"
    for name, error in {
        "breaks": "ValueError: in the <middle>",
        "builds_not": "RuntimeError: not even built",
        "twice": "ValueError: there is a picture 'again' already",
        "escapes": "ValueError: a picture is named '../outside'",
    }.items():
        assert re.search(f"figure '{name}' {provider} failed: {re.escape(error)}", box)
    page = page_of(run / "report")
    drawn = re.findall(r'<figure id="([^"]+)">', page)
    assert drawn == ["returns", "returns-training", "before", "again", "plain", "folded"]
    assert "&lt;i&gt;caption&lt;/i&gt;" in page
    assert page.count("<h3>A title &amp; more</h3>") == 3
    assert page.count("<summary>A title &amp; more</summary>") == 1
    assert page.index(">Returns</h2>") < page.index(">Mine</h2>") < page.index(">Preset</h2>")
    assert not (tmp_path / "run" / "report" / "outside.svg").exists()
    assert pyplot.get_fignums() == []


def test_a_heavy_picture_is_a_png_on_the_page(
    tmp_path: Path, figures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.commands.report.pictures.HEAVY", 1_000)
    run = write_run(tmp_path / "run", **SHORT)
    assert report(run, *figures, "good", "--format", "svg") == 0
    assert page_of(run / "report").count('src="data:image/png;base64,') == 2
    assert {p.suffix for p in (run / "report" / "pictures").iterdir()} == {".svg"}


def test_the_users_matplotlib_settings_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    run = write_run(tmp_path / "run", **SHORT)
    assert report(run, *FEW) == 0
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30.0)
    monkeypatch.setitem(matplotlib.rcParams, "savefig.bbox", "tight")
    assert report(run, *FEW, "--out", tmp_path / "again") == 0
    assert page_of(run / "report") == page_of(tmp_path / "again")
    assert matplotlib.rcParams["font.size"] == 30.0


def test_options_of_figures(tmp_path: Path, capsys: Any) -> None:
    runs = [write_run(tmp_path / "s" / f"r{i}", seed=i, **SHORT).parent for i in range(2)]
    plain, robust = tmp_path / "plain", tmp_path / "robust"
    assert report(runs[0], "--out", plain, *FEW) == 0
    assert report(runs[0], "--out", robust, *FEW, "--set", "returns.statistic=iqm") == 0
    assert "interquartile mean" not in text_of(page_of(plain))
    assert "interquartile mean" in text_of(page_of(robust))
    capsys.readouterr()
    assert report(runs[0], *FEW, "--set", "returns.statistc=iqm", "--set", "returns.smooth=2") == 2
    message = capsys.readouterr().err
    assert "returns.statistc: figure 'returns' (openwork " in message
    assert "Did you mean 'statistic'?" in message
    assert report(runs[0], *FEW, "--set", "returns.smooth=2") == 2
    assert "returns.smooth: must be odd and at least 1, got 2" in capsys.readouterr().err
    assert report(runs[0], *FEW, "--set", "retuns.smooth=1") == 2
    assert "no such figure. Did you mean 'returns'?" in capsys.readouterr().err
