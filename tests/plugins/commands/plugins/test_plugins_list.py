"""``plugins list`` and ``info``: what they say, in text and in JSON, and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from core import __version__
from core.api.errors import UserError
from core.api.hookspecs import ALL, KINDS
from core.cli import main
from core.config import load
from core.config.shipped import shipped
from core.plugins import Plugins
from plugins.commands.plugins.info import KEYS, _asked
from plugins.commands.plugins.kinds import read_kind
from tests.conftest import PRESETS
from tests.support.distributions import GOOD, Install, install

__all__ = ["install"]


def said(capsys: Any, *words: str, code: int = 0) -> str:
    assert main(["plugins", *words]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code != 2)
    return str(err if code == 2 else out)


# --- list -------------------------------------------------------------------------------


def test_every_component_is_listed_with_kind_provider_and_summary(
    plugins: Plugins, capsys: Any
) -> None:
    sections = said(capsys, "list").split("\n\n")
    for kind, section in zip(KINDS, sections, strict=False):
        title, *rows = section.splitlines()
        assert title == kind
        expected = [[c.name, str(c.provider), c.summary] for c in plugins.components(kind)]
        assert [re.split(r"\s{2,}", row.strip(), maxsplit=2) for row in rows] == expected


def test_json_of_the_list(plugins: Plugins, capsys: Any) -> None:
    listed = json.loads(said(capsys, "list", "--json"))
    assert set(listed) == {"components", "plugins"}
    (mask,) = [c for c in listed["components"] if c["name"] == "erdos_renyi"]
    assert mask["kind"] == "masks"
    assert mask["provider"]["distribution"] == "openwork"
    assert mask["provider"]["version"] == __version__
    assert len(listed["components"]) == sum(len(plugins.components(kind)) for kind in KINDS)
    assert {p["source"] for p in listed["plugins"]} >= {"plugins.masks", "plugins.data"}


@pytest.mark.parametrize("word", ["mask", "masks", "Mask"])
def test_a_kind_may_be_singular_or_plural(word: str, capsys: Any) -> None:
    listed = json.loads(said(capsys, "list", "--kind", word, "--json"))
    assert {c["kind"] for c in listed["components"]} == {"masks"}


def test_words_for_kinds() -> None:
    for kind, word in KINDS.items():
        assert read_kind(kind) == read_kind(word) == read_kind(word.replace(" ", "-")) == kind
    assert read_kind("data") == "data"
    assert read_kind("execution") == "execution"
    with pytest.raises(UserError, match="Did you mean 'network'"):
        read_kind("netwrok")


def test_an_unknown_kind_is_refused_with_the_choices(capsys: Any) -> None:
    text = said(capsys, "list", "--kind", "mosk", code=2)
    assert text.startswith("--kind mosk: there is no such kind. Did you mean 'mask'?\n    kinds: ")
    assert "environment, network, mask, execution, loss" in text


def test_states_of_plugins_that_are_not_built_in(
    install: Install, tmp_path: Path, capsys: Any
) -> None:
    install("sp-good", GOOD.replace("NAME", "fan_in"))
    install("sp-out", GOOD.replace("NAME", "other"))
    install("sp-bad", "import no_such_dependency\n")
    words = ["list", "--without", "sp-out"]
    *_, section = said(capsys, *words).split("\n\n")
    assert section.splitlines() == [
        "plugins that are not built in",
        "  active    sp-good 0.3  sp_good",
        "  left out  sp-out 0.3   sp_out",
        "  broken    sp-bad 0.3   sp_bad: ModuleNotFoundError: No module named "
        "'no_such_dependency' (see python -m core plugins doctor sp-bad)",
    ]
    listed = json.loads(said(capsys, *words, "--json"))
    states = {p["distribution"]: p for p in listed["plugins"]}
    assert {name: p["state"] for name, p in states.items()} == {
        "openwork": "active", "sp-good": "active", "sp-out": "left out", "sp-bad": "broken",
    }  # fmt: skip
    assert states["sp-bad"]["error"].startswith("ModuleNotFoundError")
    assert states["sp-good"]["entry_point"] == "main"
    assert "fan_in" in {c["name"] for c in listed["components"]}
    assert "other" not in {c["name"] for c in listed["components"]}
    assert "broken plugin: sp-bad 0.3" in said(capsys, "list", "--strict-plugins", code=2)


def test_a_broken_plugin_file_is_a_row(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from core.api import hookimpl\n\n@hookimpl\ndef register_maks():\n    return []\n"
    )
    text = said(capsys, "list", "--plugin", str(path))
    assert re.search(r"broken  mine\.py [0-9a-f]{12}  .*Did you mean 'register_masks'\?", text)


def test_names_stay_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, plugins: Plugins, capsys: Any
) -> None:
    monkeypatch.setattr("plugins.commands.columns.terminal_width", lambda: 80)
    text = said(capsys, "list")
    assert max(map(len, text.splitlines())) <= 80
    for kind in KINDS:
        for component in plugins.components(kind):
            assert re.search(rf"^  {component.name}  +openwork {__version__}  ", text, re.M)
    assert "\x1b" not in text
    assert not re.search(r" $", text, re.M)


# --- info -------------------------------------------------------------------------------


def test_what_is_said_of_a_component(install: Install, tmp_path: Path, capsys: Any) -> None:
    install("sp-good", GOOD.replace("NAME", "fan_in"))
    assert said(capsys, "info", "fan_in").splitlines() == [
        "mask 'fan_in' (sp-good 0.3)",
        "  as many inputs each",
        "  Keeps the same number of inputs for every unit.",
        "",
        f"  source    sp_good ({tmp_path}/sp_good.py:28)",
        "  needs     replay",
        "  provides  nothing",
        "  presets   none of the shipped ones",
        "",
        "  options",
        "    inputs: a whole number, required",
        "        Inputs kept, at least 1.",
        "    rate: a number, default 1.0e-4",
        "        A small rate.",
        "    edges: a mapping",
        "    edges.first: a whole number, default 3",
        "        Inputs kept at the left edge, at least 0.",
    ]
    (plain,) = json.loads(said(capsys, "info", "sp-good:fan_in", "--json"))
    inputs, rate, edges, first = plain.pop("options")
    assert inputs == {
        "name": "inputs", "type": "a whole number", "required": True, "default": None,
        "help": "Inputs kept, at least 1.",
    }  # fmt: skip
    assert (rate["required"], rate["default"]) == (False, 1e-4)
    assert (edges["type"], edges["required"]) == ("a mapping", False)
    assert (first["name"], first["default"]) == ("edges.first", 3)
    assert plain.pop("provider")["distribution"] == "sp-good"
    assert plain == {
        "kind": "masks", "name": "fan_in", "summary": "as many inputs each", "line": 28,
        "file": str(tmp_path / "sp_good.py"), "needs": ["replay"], "provides": [], "presets": [],
        "needs_depend_on_options": False,
    }  # fmt: skip


def test_what_is_not_imported_yet_has_a_place_too(
    install: Install, tmp_path: Path, capsys: Any
) -> None:
    code = GOOD.replace("NAME", "fan_in").replace(
        "Options, build", 'Options, lazy("sp_lazy:build")'
    )
    install("sp-lazy", code.replace("import Component, hook", "import Component, lazy, hook"))
    assert f"  source    sp_lazy ({tmp_path}/sp_lazy.py:28)\n" in said(capsys, "info", "fan_in")


def test_needs_that_depend_on_options_are_explained(capsys: Any) -> None:
    needs = "needs     n-step returns where n_step is above 1; with the defaults nothing"
    assert needs in said(capsys, "info", "sac")
    (plain,) = json.loads(said(capsys, "info", "sac", "--json"))
    assert plain["needs_depend_on_options"] is True


def test_every_component_of_that_name_is_shown(install: Install, capsys: Any) -> None:
    install("sp-good", GOOD.replace("NAME", "auto"))
    heads = re.findall(r"^\S.*", said(capsys, "info", "auto"), re.M)
    assert heads == [
        "mask 'auto' (sp-good 0.3)",
        f"execution backend 'auto' (openwork {__version__})",
    ]
    only = said(capsys, "info", "auto", "--kind", "mask")
    assert re.findall(r"^\S.*", only, re.M) == heads[:1]
    assert re.findall(r"^\S.*", said(capsys, "info", "openwork:auto"), re.M) == heads[1:]


def test_an_unknown_component(install: Install, capsys: Any) -> None:
    install("sp-bad", "import no_such_dependency\n")
    text = said(capsys, "info", "erdos_reny", code=2)
    assert text.startswith("no component is called 'erdos_reny'. Did you mean 'erdos_renyi'?\n")
    assert "broken plugin: sp-bad 0.3" in text
    assert said(capsys, "info", "sac", "--kind", "mask", code=2).startswith("no mask is called")


def test_presets_that_use_a_component_are_those_that_load_with_it() -> None:
    for name, path in shipped().items():
        values, asked = load([path]).values, _asked(path)
        for key in KEYS.values():
            node = values.get(key)
            nodes = node if isinstance(node, list) else [node]
            named = [n.get("name") if isinstance(n, dict) else n for n in nodes]
            assert asked.get(key, []) == [n for n in named if n is not None], (name, key)


def test_all_stands_for_every_diagnostic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    preset = tmp_path / "every.yaml"
    preset.write_text(f"extends: {PRESETS / 'quickstart.yaml'}\ndiagnostics: {ALL}\n")
    monkeypatch.setattr("plugins.commands.plugins.info.shipped", lambda: {"every": preset})
    (plain,) = json.loads(said(capsys, "info", "churn", "--json"))
    assert plain["presets"] == ["every"]
