"""``presets list``, ``show`` and ``diff``: text, JSON, exit codes, who set what."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from core.cli import main
from core.config import Incomplete, load, resolve
from core.config.shipped import SHIPPED, shipped
from core.plugins import Plugins
from plugins.commands.columns import columns
from tests.conftest import PRESETS
from tests.support.pages import blocks, text
from tests.support.verbs import said

DIFFERENT = ("quickstart", "ddpg_sparse", "state_dynamic", "visual_sparse", "streaming_visual")
"""Presets that together have every key, and every kind of value."""


# --- list -------------------------------------------------------------------------------


def test_the_list_has_every_preset_in_its_group(capsys: Any) -> None:
    sections = said(capsys, "list").split("\n\n")
    groups = {re.split(r"[:\n]", section)[0]: section for section in sections}
    assert list(groups)[:4] == ["experiments", "base", "scales", "studies"]
    for name in shipped():
        group = name.rpartition("/")[0] or "experiments"
        assert re.search(rf"^  {name} ", groups[group], re.M)
    assert re.search(
        r"^  quickstart +A sparse agent that two CPU cores train in minutes: SAC with SimBa "
        r"networks on walker-walk$",
        groups["experiments"],
        re.M,
    )
    assert re.search(
        r"^  scales/laptop +Lay this over .* on a CPU in minutes$", groups["scales"], re.M
    )


def test_an_empty_last_column_leaves_no_spaces() -> None:
    assert list(columns([("a", ""), ("long", "b")])) == ["  a", "  long  b"]


def test_for_a_built_in_verb_no_other_is_made(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("core.cli.verbs._add_commands", lambda *_: pytest.fail("all were made"))
    assert said(capsys, "list")


def test_json_of_the_list_says_which_are_fragments(plugins: Plugins, capsys: Any) -> None:
    listed = json.loads(said(capsys, "list", "--json"))
    assert [p["name"] for p in listed] == list(shipped())
    for preset in listed:
        assert set(preset) == {"name", "group", "fragment", "summary", "path"}
        assert Path(preset["path"]).is_file()
        assert 10 < len(preset["summary"]) < 250
        try:
            resolve(load([preset["path"]]), plugins)
        except Incomplete:
            assert preset["fragment"], preset
        else:
            assert not preset["fragment"], preset


# --- show -------------------------------------------------------------------------------


def test_who_set_each_value(elsewhere: Path, capsys: Any) -> None:
    Path("below.yaml").write_text("extends: quickstart\nframes: 100\ndata: {capacity: 5_000}\n")
    Path("mine.yaml").write_text(
        "extends: below.yaml\n"
        "seed: 7\n"
        "loss: {gamma: 0.9}\n"
        "data:\n"
        "  batch_size: ${seed}\n"
        "masks:\n"
        "  - name: erdos_renyi\n"
        "    sparsity: 0.5\n"
        "    dense: ['heads.*', off1]\n"
        "diagnostics: [churn, {name: all, every: 500}]\n"
        "optimizer: adam\n"
    )
    shown = said(
        capsys, "show", "mine.yaml", "masks.0.dense.1=tail", "loss.tau=0.01", "log_every=9"
    )
    quick, sac = SHIPPED / "quickstart.yaml", SHIPPED / "base/sac.yaml"
    lines = dict(re.findall(r"^(.*?) +# (.*)$", shown, re.M))
    expected = {
        "frames: 100": "below.yaml:2",
        "seed: 7": "mine.yaml:2",
        "mask_seed: 0": "default",
        "log_every: 9": "command line",
        "  every: 10_000": f"{quick}:33",
        "  task: walker-walk": f"{quick}:9",
        "  pixels: false": "default of environment 'dm_control' (openwork 0.1.0)",
        "  count: 1": "default",
        "  gamma: 0.9": "mine.yaml:3",
        "  tau: 0.01": "command line",
        "  initial_temperature: 0.01": f"{sac}:8",
        "  log_std_max: 2.0": "default of loss 'sac' (openwork 0.1.0)",
        "  name: adam": "mine.yaml:11",
        "  lr: 1.0e-4": "default of optimizer 'adam' (openwork 0.1.0)",
        "  capacity: 5000": "below.yaml:3",
        "  batch_size: 7": "mine.yaml:5",
        "  - name: erdos_renyi": "mine.yaml:7",
        "    sparsity: 0.5": "mine.yaml:8",
        '    dense: ["heads.*", tail]': "mine.yaml:9, command line",
        "    draw: exact": "default of mask 'erdos_renyi' (openwork 0.1.0)",
        "  - name: churn": "mine.yaml:10",
        "  - name: active_units": "mine.yaml:10",
        "  - name: weight_rank": "mine.yaml:10",
        "    every: 500": "mine.yaml:10",
        "loggers: []": "default",
        "  name: auto": "default",
    }
    assert {line: lines.get(line) for line in expected} == expected
    assert "default of diagnostic 'churn'" in shown
    assert not re.search(r" $", shown, re.M)


def test_comments_are_aligned_and_colourless(capsys: Any) -> None:
    shown = said(capsys, "show", "quickstart")
    columns = {line.index("  # ") for line in shown.splitlines() if "  # " in line}
    assert len(columns) == 1
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_shown_is_the_same_preset_again(
    elsewhere: Path, name: str, plugins: Plugins, capsys: Any
) -> None:
    words = [name, "seed=5", "environment.count=2"]
    shown = said(capsys, "show", *words)
    Path("again.yaml").write_text(shown)
    first = resolve(load([name], words[1:]), plugins)
    again = resolve(load(["again.yaml"]), plugins)
    assert again.plain() == first.plain()
    assert [s.options for s in again.selections] == [s.options for s in first.selections]
    assert yaml.safe_load(shown) == first.plain()  # for other readers of YAML too


def test_json_of_show(elsewhere: Path, plugins: Plugins, capsys: Any) -> None:
    shown = json.loads(said(capsys, "show", "quickstart", "--json", "seed=2"))
    config = resolve(load(["quickstart"], ["seed=2"]), plugins)
    assert shown["values"] == config.plain()
    assert shown["presets"] == config.loaded.files
    assert shown["set_by"]["seed"] == "command line"
    assert shown["set_by"]["masks.0.sparsity"] == f"{SHIPPED}/quickstart.yaml:18"
    assert shown["set_by"]["diagnostics.3.name"] == f"{SHIPPED}/quickstart.yaml:31"


def test_a_fragment_alone_is_explained(capsys: Any) -> None:
    told = said(capsys, "show", "base/dmc_state", code=2)
    assert "loss: is missing" in told
    assert "a fragment is shown beside a preset that it is laid over" in told
    assert "capacity: 3000" in said(capsys, "show", "quickstart", "scales/laptop")


# --- diff -------------------------------------------------------------------------------


def test_what_differs_is_shown_with_who_says_so(elsewhere: Path, capsys: Any) -> None:
    Path("mine.yaml").write_text(
        "extends: quickstart\nseed: 1\nmasks: []\ndata: {batch_size: 64}\n"
    )
    quick = SHIPPED / "quickstart.yaml"
    shown = said(capsys, "diff", "quickstart", "mine.yaml", code=1).splitlines()
    assert shown[:8] == [
        "--- quickstart",
        "+++ mine.yaml",
        "seed",
        "  - 0            # default",
        "  + 1            # mine.yaml:2",
        "data.batch_size",
        f"  - 128          # {quick}:27",
        "  + 64           # mine.yaml:4",
    ]
    assert f"  - 0.8          # {quick}:18" in shown
    assert shown[-2:] == ["masks", "  +" + " []           # mine.yaml:3"]
    (seed, batch, *rest) = json.loads(
        said(capsys, "diff", "quickstart", "mine.yaml", "--json", code=1)
    )
    assert seed == {
        "key": "seed",
        "a": {"value": 0, "set_by": "default"},
        "b": {"value": 1, "set_by": "mine.yaml:2"},
    }
    assert batch["key"] == "data.batch_size"
    assert {d["key"] for d in rest if d["b"] is None} >= {"masks.0.name", "masks.0.sparsity"}
    assert [d["key"] for d in rest if d["a"] is None] == ["masks"]


def test_nothing_differs(capsys: Any) -> None:
    told = said(capsys, "diff", "quickstart", str(PRESETS / "quickstart.yaml"))
    assert "come to the same" in told
    assert json.loads(said(capsys, "diff", "quickstart", "quickstart", "--json")) == []


def test_keys_of_one_node_stand_together(capsys: Any) -> None:
    differing = json.loads(
        said(capsys, "diff", "state_sparse", "state_streaming", "--json", code=1)
    )
    tops = [d["key"].partition(".")[0] for d in differing]
    assert list(dict.fromkeys(tops)) == ["network", "loss", "optimizer", "data"]
    assert tops == sorted(tops, key=["network", "loss", "optimizer", "data"].index)


def test_a_run_stands_for_what_it_was(elsewhere: Path, plugins: Plugins, capsys: Any) -> None:
    run = Path("run")
    run.mkdir()
    config = resolve(load(["quickstart"], ["seed=4"]), plugins)
    (run / "resolved.yaml").write_text(OmegaConf.to_yaml(config.plain()))
    line = config_line(run / "resolved.yaml", "seed: 4")
    assert said(capsys, "diff", "quickstart", "run", code=1).splitlines()[2:] == [
        "seed",
        "  - 0  # default",
        f"  + 4  # run/resolved.yaml:{line}",
    ]
    # what it was, even where a plugin is gone, or a default has changed since
    gone = (run / "resolved.yaml").read_text().replace("erdos_renyi", "gone")
    (run / "resolved.yaml").write_text(gone)
    assert "  + gone " in said(capsys, "diff", "quickstart", "run", code=1)


def config_line(path: Path, text: str) -> int:
    return path.read_text().splitlines().index(text) + 1


def test_mistakes_in_either_are_told(capsys: Any) -> None:
    assert "quikstart: there is no such preset" in said(capsys, "diff", "quikstart", "x", code=2)
    assert "loss: is missing" in said(capsys, "diff", "quickstart", "base/dmc_state", code=2)


# --- the pages --------------------------------------------------------------------------


def test_the_how_to_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(PRESETS.parent)
    shown = 0
    for block in blocks("how-to/check-a-preset.md", "console"):
        for command, answer in re.findall(r"(?m)^\$ python -m core (.*)\n((?:[^$].*\n)*)", block):
            words = shlex.split(command.replace("mine.yaml", str(tmp_path / "mine.yaml")))
            assert words[0] == "describe" or main(words) in ([2] if ": must" in answer else [0, 1])
            out, err = capsys.readouterr()
            shown += answer != ""
            assert not answer or out + err == answer
    assert shown == 3


@pytest.mark.parametrize(
    "verb",
    ["validate", *(f"presets {v}" for v in ("list", "show", "diff", "copy"))]
    + [f"plugins {v}" for v in ("list", "info", "doctor", "new", "check")],
)
def test_every_argument_is_explained(verb: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    page = text("reference/command-line.md")
    section, _, rest = page.partition(f"## `{verb.partition(' ')[0]}`")[2].partition("\n## ")
    shared = rest.partition("## Options about plugins")[2]
    for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}:
        where = shared if option in ("--plugin", "--without", "--strict-plugins") else section
        assert f"\n`{option}" in where, option
