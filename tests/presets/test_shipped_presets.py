"""Shipped presets: found from anywhere, extended from anywhere, copied."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.api.errors import UserError
from core.cli import main
from core.config import load
from core.config.shipped import SHIPPED, preset_name, shipped
from plugins.commands.presets.copy import with_shipped_bases
from tests.conftest import PRESETS
from tests.support.verbs import said

# --- where presets are ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["quickstart", "quickstart.yaml", "presets/quickstart.yaml", "presets/quickstart"]
)
def test_a_shipped_preset_is_found_from_anywhere(elsewhere: Path, name: str) -> None:
    loaded = load([name])
    assert set(loaded.files) == {str(SHIPPED / "quickstart.yaml"), str(SHIPPED / "base/sac.yaml")}
    for path, digest in loaded.files.items():
        assert digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_from_the_checkout_paths_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PRESETS.parent)
    files = list(load(["studies/capacity"]).files)
    assert files == ["presets/" + name for name in ("studies/capacity.yaml", "quickstart.yaml", "base/sac.yaml")]  # fmt: skip


def test_a_file_of_ones_own_comes_first(elsewhere: Path) -> None:
    Path("quickstart.yaml").write_text("frames: 1\n")
    Path("other").mkdir()
    Path("other/mine.yaml").write_text("extends: quickstart\nseed: 1\n")
    assert load(["quickstart"]).values == {"frames": 1}
    assert load(["presets/quickstart"]).values["frames"] == 60_000
    # 'extends' looks beside its file, not in the working directory
    assert load(["other/mine.yaml"]).values["frames"] == 60_000
    Path("other/quickstart.yaml").write_text("frames: 2\n")
    assert load(["other/mine.yaml"]).values == {"frames": 2, "seed": 1}


@pytest.mark.parametrize(
    "bases", ["quickstart.yaml", "[base/sac.yaml, base/dmc_state]", "presets/state_dense.yaml"]
)
def test_extends_reaches_shipped_presets(elsewhere: Path, bases: str) -> None:
    Path("mine.yaml").write_text(f"extends: {bases}\n")
    assert load(["mine"]).values["loss"]["name"] == "sac"


def test_ones_own_quickstart_may_extend_the_shipped_one(elsewhere: Path) -> None:
    Path("quickstart.yaml").write_text("extends: quickstart.yaml\nseed: 3\n")
    loaded = load(["quickstart.yaml"])
    assert (loaded.values["seed"], loaded.values["frames"]) == (3, 60_000)
    assert list(loaded.files)[:2] == ["quickstart.yaml", str(SHIPPED / "quickstart.yaml")]


def test_a_file_that_extends_itself_is_refused(elsewhere: Path) -> None:
    Path("mine.yaml").write_text("extends: mine.yaml\n")
    with pytest.raises(UserError, match=r"^mine\.yaml: extends itself"):
        load(["mine.yaml"])


@pytest.mark.parametrize("name", ["../presets/quickstart", "base/../quickstart", "", "base"])
def test_only_names_of_shipped_presets_are_looked_up(elsewhere: Path, name: str) -> None:
    with pytest.raises(UserError, match="there is no such preset"):
        load([name])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("quikstart", "quickstart"),
        ("presets/quikstart.yaml", "quickstart"),
        ("sac", "base/sac"),
        ("mien", "mine"),
        ("mien.yaml", "mine.yaml"),
    ],
)
def test_an_unknown_preset_is_told_with_near_names(elsewhere: Path, name: str, near: str) -> None:
    Path("mine.yaml").write_text("seed: 1\n")
    with pytest.raises(UserError) as caught:
        load([name])
    told = str(caught.value)
    assert f"Did you mean '{near}'?" in told
    assert "    shipped: " in told
    assert "quickstart, state_dense" in told


def test_an_unknown_base_is_told_with_file_and_line(elsewhere: Path) -> None:
    Path("mine.yaml").write_text("seed: 1\nextends: base/sacc.yaml\n")
    with pytest.raises(UserError) as caught:
        load(["mine.yaml"])
    assert str(caught.value).startswith(
        "mine.yaml:2: extends: there is no preset 'base/sacc.yaml' beside this one"
    )
    assert "Did you mean 'base/sac'?" in str(caught.value)


def test_every_missing_preset_and_bad_override_is_told(elsewhere: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(["gone", "quickstart", "lost"])
    assert re.findall(r"^(\w+): there is no such preset", str(caught.value), re.M) == [
        "gone",
        "lost",
    ]
    with pytest.raises(UserError) as caught:
        load(["quickstart"], ["=1", "masks.7.sparsity=1"])
    assert len(re.findall(r"^command line: ", str(caught.value), re.M)) == 2


def test_presets_beside_an_installed_core_are_found(elsewhere: Path) -> None:
    """As a wheel lays them out; nothing of the checkout is on the path."""
    code = PRESETS.parent
    for folder in ("core", "plugins", "presets"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.cpp")
        shutil.copytree(code / folder, elsewhere / "site" / folder, ignore=ignored)
    script = (
        f"import sys; sys.path.insert(0, {str(elsewhere / 'site')!r}); from core.cli import main"
    )
    command = (
        f"{script}; main(['presets', 'show', 'quickstart']); import core; print(core.__file__)"
    )
    (elsewhere / "here").mkdir()
    shown = subprocess.run(
        [sys.executable, "-c", command], cwd="here", capture_output=True, text=True, check=True
    ).stdout
    assert f"# {elsewhere}/site/presets/base/sac.yaml:4\n" in shown
    assert shown.endswith(f"{elsewhere}/site/core/__init__.py\n")


def test_a_wheel_carries_every_preset() -> None:
    settings = tomllib.loads((PRESETS.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "presets*" in settings["packages"]["find"]["include"]
    (pattern,) = settings["package-data"]["presets"]
    assert sorted(PRESETS.glob(pattern)) == sorted(shipped().values())


# --- copy -------------------------------------------------------------------------------


def test_copies_come_to_the_same_elsewhere(elsewhere: Path, capsys: Any) -> None:
    for name in shipped():
        out = said(capsys, "copy", name, "mine.yaml", "--force")
        assert out.splitlines()[0] == f"mine.yaml: a copy of {SHIPPED / name}.yaml"
        assert load(["mine.yaml"]).values == load([SHIPPED / f"{name}.yaml"]).values
        original, copied = (SHIPPED / f"{name}.yaml").read_text(), Path("mine.yaml").read_text()
        lines = zip(original.splitlines(), copied.splitlines(), strict=True)
        assert all(b.startswith("extends: ") for a, b in lines if a != b)


def test_bases_of_a_copy_are_shipped_names() -> None:
    assert with_shipped_bases(SHIPPED / "studies/capacity.yaml")[1] == ["quickstart.yaml"]
    told, bases = with_shipped_bases(SHIPPED / "state_sparse.yaml")
    assert bases == ["base/dmc_state.yaml", "base/sac.yaml"]
    assert "extends: [base/dmc_state.yaml, base/sac.yaml]\n" in told


def test_a_copy_trains_from_another_folder(elsewhere: Path, capsys: Any) -> None:
    next_command = said(capsys, "copy", "quickstart", "mine.yaml").splitlines()[-1]
    assert next_command == "python -m core.run mine.yaml"
    small = ["frames=60", "threads=1", "data.learning_starts=20", "data.batch_size=4"]
    small += [
        "environment.time_limit=1",
        "evaluation={every: null, episodes: 1, final_episodes: 1}",
    ]
    assert main(["run", "mine.yaml", *small, "diagnostics=[]", "--run-dir", "run"]) == 0
    record = json.loads(Path("run/run.json").read_text())
    assert record["name"] == "mine"
    assert record["presets"] == {
        str(path): hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in ("mine.yaml", SHIPPED / "base" / "sac.yaml")
    }
    assert record["set_by"]["loss.gamma"] == f"{SHIPPED}/base/sac.yaml:5"


def test_a_file_that_is_there_is_kept(elsewhere: Path, capsys: Any) -> None:
    Path("mine.yaml").write_text("seed: 1\n")
    assert "mine.yaml: there is a file already; --force" in said(
        capsys, "copy", "quickstart", "mine.yaml", code=2
    )
    assert Path("mine.yaml").read_text() == "seed: 1\n"
    said(capsys, "copy", "quickstart", "mine.yaml", "--force")
    assert "frames: 60_000" in Path("mine.yaml").read_text()


def test_into_a_folder_the_copy_keeps_its_name(elsewhere: Path, capsys: Any) -> None:
    said(capsys, "copy", "studies/reset", ".")
    assert Path("reset.yaml").is_file()
    assert "there is no folder gone" in said(capsys, "copy", "quickstart", "gone/x.yaml", code=2)
    assert not Path("gone").exists()


def test_the_shipped_file_itself_is_never_written(capsys: Any) -> None:
    before = (PRESETS / "quickstart.yaml").read_text()
    told = said(capsys, "copy", "quickstart", str(PRESETS), "--force", code=2)
    assert "this is the shipped preset itself" in told
    assert (PRESETS / "quickstart.yaml").read_text() == before


def test_an_unknown_name_is_told(elsewhere: Path, capsys: Any) -> None:
    Path("own.yaml").write_text("seed: 1\n")
    assert "Did you mean 'quickstart'?" in said(capsys, "copy", "quikstart", "x.yaml", code=2)
    assert "own: no such preset is shipped" in said(capsys, "copy", "own", "x.yaml", code=2)


def test_a_base_that_is_hidden_by_a_file_is_noted(elsewhere: Path, capsys: Any) -> None:
    Path("quickstart.yaml").write_text("frames: 1\n")
    out = said(capsys, "copy", "studies/reset", "mine.yaml")
    assert "note: it extends quickstart.yaml, which comes before the shipped quickstart.yaml" in out
    assert "note:" not in said(capsys, "copy", "quickstart", "other.yaml")


def test_a_copied_fragment_is_run_with_another_preset(elsewhere: Path, capsys: Any) -> None:
    assert said(capsys, "copy", "scales/laptop", "l.yaml").endswith("core.run PRESET l.yaml\n")


def test_names_of_presets() -> None:
    assert preset_name(PRESETS / "base" / "sac.yaml") == "base/sac"
    assert preset_name(Path("somewhere/mine.yaml")) == "mine"
