"""``plugins new`` makes, for every kind, a package that passes its own tests as it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import core
from core.api.hookspecs import KINDS
from core.cli import main
from core.config.shipped import shipped
from plugins.commands.plugins.kinds import SINGULAR
from plugins.commands.plugins.scaffold import (
    LONGEST,
    TEMPLATE,
    TEMPLATES,
    names,
    render,
    requirement,
    suite_of,
    write,
)
from plugins.testing import SUITES, run_checks, suite_for
from tests.downstream.conftest import Environment

ROOT = Path(core.__file__).parents[1]


@dataclass(frozen=True)
class Made:
    """A package of every kind, installed together: ``my_mask``, ``my_loss``, ..."""

    environment: Environment
    folder: Path

    @property
    def packages(self) -> list[Path]:
        return [self.folder / f"openwork-my-{word}" for word in SINGULAR]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for word in SINGULAR:
            assert main(["plugins", "new", f"my-{word}", "--kind", word]) == 0
    made = Made(Environment(folder / "venv"), folder)
    made.environment.link(*made.packages)  # pip is asked by the tests beside this module
    return made


def ruff(folder: Path) -> None:
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_template_of_every_kind_and_its_suite() -> None:
    assert set(TEMPLATE) == set(KINDS)
    assert {kind: suite_of(kind) for kind in KINDS} == {
        kind: suite.__name__ for kind, suite in SUITES.items()
    }
    assert {path.name for path in TEMPLATES.iterdir()} == {*KINDS, "common"}


def test_templates_are_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = setuptools["package-data"]["plugins"]
    packed = {path for pattern in patterns for path in (ROOT / "plugins").glob(pattern)}
    assert {path for path in TEMPLATES.rglob("*") if path.is_file()} <= packed


def test_modules_are_short(made: Made) -> None:
    for package in made.packages:
        lengths = {p.name: p.read_text().count("\n") for p in package.glob("src/*/*.py")}
        assert lengths.pop("__init__.py") <= 60, package.name
        assert max(lengths.values()) <= 100, package.name
        (test,) = package.glob("tests/*.py")
        assert sum(line != "" for line in test.read_text().splitlines()) <= 5


def test_they_are_clean_to_ruff_however_long_the_name(made: Made, tmp_path: Path) -> None:
    ruff(made.folder)
    for name in ("a", "a" * (LONGEST - 1)):
        named = names(name)
        assert named is not None
        for kind in KINDS:
            write(render(kind, named), tmp_path / kind / name)
    ruff(tmp_path)


def test_they_are_clean_to_mypy(made: Made) -> None:
    sources = [str(package / "src") for package in made.packages]
    modules = [f"openwork_my_{word}" for word in SINGULAR]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", made.packages[0] / "pyproject.toml"]
        + [word for module in modules for word in ("-p", module)]
        + ["--cache-dir", ROOT / ".mypy_cache" / "scaffold"],
        env=made.environment.variables() | {"MYPYPATH": ":".join([str(ROOT), *sources])},
        cwd=made.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no issues found in {2 * len(KINDS)} source files" in done.stdout


@pytest.mark.parametrize("word", SINGULAR)
def test_they_pass_their_own_tests(word: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process; the sample plugin's are run as its author runs them."""
    monkeypatch.syspath_prepend(made.folder / f"openwork-my-{word}" / "src")
    suite = suite_for(SINGULAR[word], f"my_{word}", plugin=f"openwork_my_{word}")
    checked = list(run_checks(suite))
    assert [one for one in checked if one.outcome == "failed"] == []
    assert sum(one.outcome == "passed" for one in checked) >= 7


def test_each_is_offered_and_its_preset_is_right(made: Made) -> None:
    run = made.environment.run
    listed = json.loads(run("-m", "core", "plugins", "list", "--json", cwd=made.folder).ok().out)
    found = {c["name"]: c for c in listed["components"]}
    for word, kind in SINGULAR.items():
        assert found[f"my_{word}"]["kind"] == kind
        assert found[f"my_{word}"]["provider"]["distribution"] == f"openwork-my-{word}"
    presets = [next(package.glob("*.yaml"), None) for package in made.packages]
    given = [preset for preset in presets if preset is not None]
    assert len(given) == sum(bool(template.node) for template in TEMPLATE.values())
    run("-m", "core", "validate", "--each", *given, cwd=made.folder).ok()
    for package, preset in zip(made.packages, presets, strict=True):
        if preset is not None:
            snippet = re.search(
                r"```yaml\n(.*?)```", (package / "README.md").read_text(), re.DOTALL
            )
            assert snippet is not None
            assert preset.read_text() == f"extends: quickstart.yaml\n\n{snippet[1]}"
    assert "quickstart" in shipped()


def test_what_comes_next_is_what_works(made: Made, capsys: Any, tmp_path: Path) -> None:
    assert main(["plugins", "new", "fan-in", "--kind", "mask", str(tmp_path / "here")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'here'} has the mask 'fan_in':\n")
    written = {str(p.relative_to(tmp_path / "here")) for p in (tmp_path / "here").rglob("*.*")}
    for path in re.findall(r"(?m)^    (\S+?)(?:  .*)?$", out.partition("next:")[0]):
        assert path in written | {"LICENSE"}
    following = [line.strip() for line in out.partition("next:\n")[2].splitlines()]
    assert following == [
        f"cd {tmp_path / 'here'}",
        "python -m pip install -e .",
        "python -m core plugins check openwork-fan-in",
        "python -m core.run fan_in.yaml",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Fan In", "--kind", "mask"], "Fan In: a name has lower-case letters"),
        (["9x", "--kind", "mask"], "9x: a name has lower-case letters"),
        (["x" * (LONGEST + 1), "--kind", "mask"], f"at most {LONGEST} characters"),
        (["x__y", "--kind", "mask"], "x__y: a name has"),
        (["lambda", "--kind", "mask"], "choose another name"),
        (["all", "--kind", "diagnostic"], "means something else in presets"),
        (["off", "--kind", "logger"], "means something else in presets"),
        (["erdos-renyi", "--kind", "mask"], "has the mask 'erdos_renyi' already"),
        (["fan-in", "--kind", "maks"], "--kind maks: there is no such kind. Did you mean 'mask"),
        (["fan-in", "--kind", "mask", "taken"], "taken: there is something already"),
        (["fan-in", "--kind", "mask", "a", "b"], "one folder is made, not 2: a b"),
        (["fan-in", "--kind", "mask", "file/below"], "file/below: cannot be written"),
    ],
)
def test_mistakes_are_one_message(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thing").touch()
    (tmp_path / "file").touch()
    assert main(["plugins", "new", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "file"}


def test_an_empty_folder_and_any_spelling_will_do(tmp_path: Path, capsys: Any) -> None:
    for text in ("fan-in", "fan_in", "openwork-fan-in"):
        named = names(text)
        assert named is not None
        assert named.component == "fan_in"
        assert (named.distribution, named.package) == ("openwork-fan-in", "openwork_fan_in")
        assert named.camel == "FanIn"
    assert main(["plugins", "new", "fan-in", str(tmp_path), "--kind", "masks"]) == 0
    assert (tmp_path / "src/openwork_fan_in/scheme.py").is_file()


def test_what_a_package_asks_of_openwork() -> None:
    assert requirement("0.4.2") == ">=0.4,<0.5"
    assert requirement("1.12.0") == ">=1.12,<2"
    assert requirement("0.1.0") == ">=0.1,<0.2"
