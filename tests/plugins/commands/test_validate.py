"""``validate``: all mistakes at once, as ``run`` finds them, without torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config.shipped import shipped
from plugins.commands.presets.list import FRAGMENTS
from tests.conftest import PRESETS


def test_presets_are_merged_as_run_merges_them(elsewhere: Path, capsys: Any) -> None:
    Path("mine.yaml").write_text("seed: 1\n")
    assert main(["validate", "quickstart", "mine.yaml", "masks.0.sparsity=0.5"]) == 0
    assert capsys.readouterr() == ("ok: quickstart mine.yaml\n", "")
    # the fragment alone is a mistake, and so is an override that reaches nothing
    assert main(["validate", "mine.yaml"]) == 2
    assert "loss: is missing" in capsys.readouterr().err


def test_all_mistakes_at_once(elsewhere: Path, capsys: Any) -> None:
    Path("one.yaml").write_text("extends: quickstart\nseed: x\nloss: {gama: 1}\n")
    Path("two.yaml").write_text("masks: [{name: erdos_renyi, sparsity: 2}]\nlos: 1\n")
    assert main(["validate", "one.yaml", "two.yaml", "device=gpu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.findall(r"^(\S+:\d|command line): (\S+): ", err, re.M) == [
        ("one.yaml:2", "seed"),
        ("one.yaml:3", "loss.gama"),
        ("two.yaml:1", "masks.0.sparsity"),
        ("two.yaml:2", "los"),
        ("command line", "device"),
    ]


@pytest.mark.parametrize(
    "mistake",
    [
        ["interventions=[{name: periodic_reset}]"],
        ["interventions=[{name: periodic_reset, at: [10], networks: [critic], last: 0}]"],
        ["loss=stream_ac"],
        ["diagnostics=[churn, churn]"],
        ["optimizer.lr=-1"],
    ],
)
def test_it_says_what_run_says(mistake: list[str], elsewhere: Path, capsys: Any) -> None:
    assert main(["validate", "quickstart", *mistake]) == 2
    told = capsys.readouterr().err
    assert main(["run", "quickstart", *mistake]) == 2
    assert capsys.readouterr().err == told
    assert not Path("runs").exists()


def test_each_file_by_itself(elsewhere: Path, capsys: Any) -> None:
    folder = Path("mine/deep")
    folder.mkdir(parents=True)
    Path("mine/good.yaml").write_text("extends: quickstart\n")
    Path("mine/part.yaml").write_text("data: {capacity: 10}\nloss: {name: sac, gamma: 0.9}\n")
    Path("mine/bad.yaml").write_text("extends: quickstart\nseed: x\n")
    (folder / "torn.yaml").write_text("a: [\n")
    assert main(["validate", "--each", "mine", "visual_sparse"]) == 2
    out, err = capsys.readouterr()
    lacking = "frames, environment, network, optimizer, data.name"
    assert out.splitlines() == [
        "ok: mine/good.yaml",
        f"fragment: mine/part.yaml (another must give {lacking})",
        "ok: visual_sparse",
    ]
    assert err.startswith("mine/bad.yaml:2: seed: must be a whole number, got 'x'")
    assert "\nmine/deep/torn.yaml:2: not valid YAML" in err


def test_overrides_go_to_each(elsewhere: Path, capsys: Any) -> None:
    words = ["quickstart", "state_sparse", "masks.0.sparsity=1.5"]
    assert main(["validate", "--each", *words]) == 2
    assert capsys.readouterr().err.count("command line: masks.0.sparsity: must be") == 2


@pytest.mark.parametrize(
    "text",
    [
        "loss: {name: sac, gama: 1}\n",  # a wrong option
        "frames: -1\n",
        "masks: [{sparsity: 0.5}]\n",  # a list is never merged: nobody can name this later
        "masks: [{name: erdos_renyi}]\n",
        "data: 5\n",
    ],
)
def test_a_fragment_is_right_in_all_that_it_says(text: str, elsewhere: Path, capsys: Any) -> None:
    Path("part.yaml").write_text("seed: 1\n" + text)
    assert main(["validate", "--each", "part.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "part.yaml:2: " in err


def test_a_lack_inside_an_optional_mapping_is_a_lack(elsewhere: Path, capsys: Any) -> None:
    plugin = Path("mine.py")
    plugin.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from core.api import Component, hookimpl\n\n\n"
        "@dataclass(frozen=True)\nclass Inner:\n    width: int\n\n\n"
        "@dataclass(frozen=True)\nclass Options:\n    inner: Inner | None = None\n\n\n"
        "@hookimpl\ndef register_losses():\n"
        "    return [Component('mine', Options, lambda options, context: None, 'a loss')]\n"
    )
    Path("part.yaml").write_text("loss: {name: mine, inner: {}}\n")
    assert main(["validate", "--each", "part.yaml", "--plugin", "mine.py"]) == 0
    assert "loss.inner.width" in capsys.readouterr().out


def test_every_shipped_preset(capsys: Any) -> None:
    assert main(["validate", "--each", str(PRESETS)]) == 0
    words = {
        str(Path(path).relative_to(PRESETS).with_suffix("")): word
        for word, path in re.findall(r"^(\w+): (\S+)", capsys.readouterr().out, re.M)
    }
    parts = {name for name in shipped() if name.partition("/")[0] in FRAGMENTS}
    assert words == {name: "fragment" if name in parts else "ok" for name in shipped()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1"], "give at least one preset"),
        (["--each", "seed=1"], "give at least one preset, or a folder"),
        (["folder"], "folder: this is a folder; --each checks every preset in it"),
        (["--each", "folder"], "folder: there are no presets in this folder"),
        (["quikstart", "gone.yaml"], "Did you mean 'quickstart'?"),
    ],
)
def test_what_cannot_be_checked(
    words: list[str], message: str, elsewhere: Path, capsys: Any
) -> None:
    Path("folder").mkdir()
    assert main(["validate", *words]) == 2
    assert message in capsys.readouterr().err


def test_verbs_that_only_read_import_no_torch(tmp_path: Path) -> None:
    lines = [
        *("validate visual_sparse streaming_visual", "presets list", "presets show state_sparse"),
        *("presets diff state_sparse state_streaming", f"presets copy quickstart {tmp_path}"),
        *("plugins list", "plugins info sac", "plugins doctor"),
        f"plugins new fan-in {tmp_path / 'new'} --kind mask",
    ]
    heavy = ("torch", "torchrl", "tensordict", "mujoco", "dm_control", "matplotlib")
    code = f"""
        import sys
        from core.cli import main
        for line in {lines}:
            assert main(line.split()) in (0, 1), line
            heavy = [name for name in {heavy} if name in sys.modules]
            assert not heavy, (line, heavy)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=PRESETS.parent,
        env={**os.environ, "OPENWORK_PLUGINS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
