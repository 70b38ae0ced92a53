"""``python -m core report``: what it writes, what it says, and what it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.api.figures import RecordedRun
from plugins.commands.report.provenance import origin
from tests.plugins.commands.report.reports import FEW, SHORT, page_of, report, text_of
from tests.support.recorded import write_run, write_study

# --- a whole report ---------------------------------------------------------------------


def test_one_page_and_pictures_beside_it(study: Path) -> None:
    directory = study / "report"
    page = page_of(directory)
    names = re.findall(r'<figure id="([^"]+)">', page)
    assert {"returns", "losses", "effective_rank", "densities"} <= set(names)
    found = {path.name for path in (directory / "pictures").iterdir()}
    assert found == {f"{name}.svg" for name in names}
    assert page.count("<svg") == len(names)
    for name in names:
        ElementTree.parse(directory / "pictures" / f"{name}.svg")


def test_the_page_needs_nothing_from_anywhere(study: Path) -> None:
    page = page_of(study / "report")
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page
    references = re.findall(r'\b(?:src|href|data|action|srcset)\s*=\s*"([^"]*)"', page)
    references += re.findall(r"url\(([^)]*)\)", page)
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)


def test_ids_are_unique_and_references_lead_somewhere(study: Path) -> None:
    page = page_of(study / "report")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert len(references) > 50
    assert set(references) <= set(ids)


def test_two_reports_of_the_same_runs_are_byte_identical(study: Path, tmp_path: Path) -> None:
    # in another process: hash seeds, object addresses and the working directory differ
    code = (
        "import sys; from core.cli import main; assert main([*sys.argv[1:], 'svg']) == 0; "
        "assert main([*sys.argv[1:], 'png', '--figures', 'densities', '--out', 'png']) == 0; "
        "heavy = {'torch', 'torchrl', 'tensordict', 'mujoco', 'dm_control'} & set(sys.modules); "
        "assert not heavy, heavy"  # it needs none of them
    )
    command = [sys.executable, "-c", code, "report", str(study), "--out", "svg", "--format"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    here = tmp_path / "here"
    assert report(study, "--figures", "densities", "--format", "png", "--out", here) == 0
    for first, second in ((study / "report", tmp_path / "svg"), (here, tmp_path / "png")):
        files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert len(files) > (10 if second.name == "svg" else 1)
        for path in files:
            assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_the_table_shows_each_run_and_each_group(study: Path) -> None:
    text = text_of(page_of(study / "report"))
    assert "4 runs in 2 groups dm_control walker-walk · simba · sac · adamw · replay" in text
    ends = {}
    for name in ("dense-s0", "dense-s1"):
        lines = map(json.loads, (study / name / "metrics.jsonl").read_text().splitlines())
        ends[name] = [line for line in lines if "eval/return" in line][-1]
    for seed, (name, end) in enumerate(ends.items()):
        value = f"{end['eval/return']:,.1f} ± {end['eval/return_std']:,.1f}"
        row = f"{name} {seed} 10,000 finished {value} 5 episodes at frame 10,000 0:00:47 0."
        assert row in text
    one, other = (end["eval/return"] for end in ends.values())
    group = f"dense {(one + other) / 2:.1f} ± {abs(one - other) / 2**0.5:.1f} over 2 runs"
    assert group in text
    assert "0.1.0 935f51d0c0ff 2.13.0 3.11.7 Linux-6.1-x86_64, 2 cores, AVX2" in text


def test_presets_stand_there_with_who_set_each_value(study: Path) -> None:
    page = page_of(study / "report")
    text = text_of(page)
    assert "masks.0 – {name: erdos_renyi, sparsity: 0.8, target: all, dense: []}" in text
    assert "gamma 0.99 presets/base/sac.yaml:5" in text
    assert "tau 0.005 default" in text
    assert "seed 0, 1 command line" in text
    marked = re.findall(r'<tr class="differs"><td><code>([^<]*)</code>', page)
    assert marked == ["masks", "name", "sparsity", "target", "dense"]
    assert "environment dm_control openwork 0.1.0 plugins.environments all" in text
    assert "masks.0 erdos_renyi openwork 0.1.0 plugins.masks erdos_renyi 0.8" in text
    assert "python -m core.run presets/quickstart.yaml 'masks=[]' seed=1" in text
    assert "--run-dir" not in text


def test_who_set_a_value_is_the_nearest_that_can_be() -> None:
    set_by = {"data": "a.yaml:1", "masks": "a.yaml:2", "masks.0": "a.yaml:3", "loss.gamma": "b:4"}
    set_by |= {"diagnostics": "command line"}
    run = RecordedRun(Path("run"), {"set_by": set_by})
    keys = ["data.name", "data.capacity", "masks.0.name", "masks.0.sparsity", "loss.gamma"]
    keys += ["diagnostics.3.name", "diagnostics.3.every", "name", "execution.name"]
    assert [origin(run, key) for key in keys] == [
        *("a.yaml:1", "default", "a.yaml:3", "default", "b:4"),
        *("command line", "default", "default", "default"),
    ]
    assert origin(RecordedRun(Path("run")), "data.name") == "\N{EN DASH}"


def test_pictures_stand_in_the_order_of_the_page(study: Path) -> None:
    headings = re.findall(r"<h2>([^<]+)</h2>", page_of(study / "report"))
    assert headings == [
        *("Runs", "What differs", "Returns", "Losses", "Diagnostics"),
        *("Gradient interference", "Densities", "Time", "Preset", "Components", "Commands"),
    ]


# --- formats and places -----------------------------------------------------------------


def test_formats(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", **SHORT)
    for form, written in {"png": ["png"], "svg": ["svg"], "both": ["png", "svg"]}.items():
        assert report(run, *FEW, "--format", form, "--out", tmp_path / form) == 0
        pictures = {path.name for path in (tmp_path / form / "pictures").iterdir()}
        names = ("returns", "returns-training")
        assert pictures == {f"{name}.{suffix}" for name in names for suffix in written}
    assert (tmp_path / "both/pictures/returns.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" not in page_of(tmp_path / "png")
    assert 'src="data:image/png;base64,' in page_of(tmp_path / "png")
    assert "<svg" in page_of(tmp_path / "svg")


def test_where_a_report_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = write_study(tmp_path / "study", seeds=1, **SHORT)
    monkeypatch.chdir(tmp_path)
    assert report(runs[0], *FEW) == 0
    assert (runs[0] / "report" / "index.html").is_file()
    assert report(*runs, *FEW) == 0
    assert (tmp_path / "report" / "index.html").is_file()
    monkeypatch.chdir(runs[0])
    assert report(".", *FEW) == 0
    assert "<h1>dense-s0</h1>" in page_of(Path("report"))


def test_pictures_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", **SHORT)
    assert report(run, *FEW) == 0
    (run / "report" / "pictures" / "notes.txt").write_text("kept")
    assert report(run, "--figures", "time", "--format", "svg") == 0
    left = {path.stem.partition("-")[0] for path in (run / "report" / "pictures").iterdir()}
    assert left == {"time", "notes"}


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "run", seed=i, **SHORT) for i, name in enumerate("ab")]
    assert report(*runs, *FEW, "--out", tmp_path / "out") == 0
    text = text_of(page_of(tmp_path / "out"))
    assert "a/run 0 10,000" in text
    assert "b/run 1 10,000" in text


# --- mistakes, and what it needs ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{run}", "--figures", "retruns"],
            "no figure is called 'retruns'. Did you mean 'returns'?",
        ),
        (["{run}", "--plugin", "none.py"], "--plugin none.py: there is no such file"),
        (["{run}x"], "there is no such run or folder. Did you mean 'run'?"),
        (["{run}", "--out", "{run}/run.json"], "run.json: cannot be written to: File exists"),
        (["{run}", "--out", "{run}/run.json/x"], "x: cannot be written to: Not a directory"),
    ],
)
def test_mistakes_are_one_message(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", **SHORT)
    assert report(*(word.format(run=run) for word in arguments)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (run / "report").exists()
