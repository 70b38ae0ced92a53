"""``plugins doctor``: what each plugin brings, what is wrong with it, exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core import __version__
from core.api.hookspecs import KINDS
from core.cli import main
from core.plugins import Plugins
from tests.support.distributions import GOOD, Install, install

__all__ = ["install"]


def said(capsys: Any, *words: str, code: int = 0) -> str:
    assert main(["plugins", *words]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code != 2)
    return str(err if code == 2 else out)


def test_all_is_well_with_what_is_built_in(plugins: Plugins, capsys: Any) -> None:
    text = said(capsys, "doctor", "openwork")
    assert text.startswith(f"openwork {__version__}, python 3.")
    assert re.search(r", torch \d", text)
    assert f"openwork {__version__}: ok" in text
    for kind in KINDS:
        names = ", ".join(component.name for component in plugins.components(kind))
        assert re.search(rf"^  {kind} +{names}$", text, re.M)
    assert text.endswith("\nall is well\n")


def test_a_good_plugin(install: Install, capsys: Any) -> None:
    install("sp-good", GOOD.replace("NAME", "fan_in"))
    assert said(capsys, "doctor", "sp_good").split("\n\n")[1].splitlines() == [
        "sp-good 0.3: ok",
        "  loaded    sp_good, entry point main",
        "  masks     fan_in",
        "  watches   run_finished",
        "  asks for  openwork<0.2,>=0.1",
    ]


def test_a_broken_plugin_shows_its_whole_traceback(install: Install, capsys: Any) -> None:
    install("sp-bad", "def load():\n    return 1 / 0\n\n\nload()\n")
    for words in ([], ["sp-bad"]):
        text = said(capsys, "doctor", *words, code=1)
        assert "\nsp-bad 0.3: BROKEN\n" in text
        assert "    ZeroDivisionError: division by zero\n" in text
        assert re.search(r'\| +File ".*sp_bad\.py", line 2, in load\n', text)
        assert text.endswith("\n1 broken\n")
    assert said(capsys, "doctor", "openwork").endswith("\nall is well\n")


def test_a_plugin_for_another_openwork(install: Install, capsys: Any) -> None:
    install("sp-old", GOOD.replace("NAME", "fan_in"), asks_for="openwork<0.1")
    text = said(capsys, "doctor", code=1)
    assert "\nsp-old 0.3: made for another openwork\n" in text
    assert f"openwork<0.1; here is {__version__}" in text
    assert said(capsys, "doctor", "--without", "sp-old").endswith("\nall is well\n")


def test_a_plugin_that_does_not_say_which_openwork(install: Install, capsys: Any) -> None:
    install("sp-free", GOOD.replace("NAME", "fan_in"), asks_for=None)
    assert "no version of openwork; dependencies = ['openwork>=" in said(capsys, "doctor")


def test_a_clash_is_named_with_the_ways_out(install: Install, capsys: Any) -> None:
    install("sp-good", GOOD.replace("NAME", "erdos_renyi"))
    text = said(capsys, "doctor")
    assert f"mask 'erdos_renyi' is offered by openwork {__version__} and by sp-good 0.3" in text
    assert "'openwork:erdos_renyi' or 'sp-good:erdos_renyi'" in text
    assert "is offered by" not in said(capsys, "doctor", "--without", "sp-good")


def test_a_verb_is_shown_as_the_command_line_has_it(install: Install, capsys: Any) -> None:
    for verb, name in (("run", "sp-bold:run"), ("stroll", "stroll")):
        code = GOOD.replace("register_masks", "register_commands").replace("NAME", verb)
        install(f"sp-{'bold' if verb == 'run' else 'modest'}", code)
        assert f"  commands  {name}\n" in said(capsys, "doctor")


def test_a_file_is_shown_with_its_digest(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("NAME", "fan_in"))
    text = said(capsys, "doctor", "mine.py", "--plugin", str(path))
    assert re.search(rf"loaded +{path}, SHA-256 [0-9a-f]{{64}}$", text, re.M)
    assert "add --plugin mine.py" in said(capsys, "doctor", "mine.py", code=2)


def test_an_unknown_plugin(install: Install, capsys: Any) -> None:
    install("sp-good", GOOD.replace("NAME", "fan_in"))
    text = said(capsys, "doctor", "sp-goot", code=2)
    assert text == (
        "no plugin is called 'sp-goot'. Did you mean 'sp-good'?\n    plugins: openwork, sp-good\n"
    )


def test_what_the_environment_holds_back_is_said(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    install("sp-bad", "1 / 0\n")
    monkeypatch.setenv("OPENWORK_PLUGINS", "")
    assert "\nOPENWORK_PLUGINS=: of what is installed" in said(capsys, "doctor")


VERB = '''
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    """None."""

class Verb:
    examples = "  python -m core VERB"
    def add_arguments(self, parser):
        ARGUMENTS
    def execute(self, arguments):
        return 0

def build(options, context):
    BUILD

@hookimpl
def register_commands():
    return [Component("VERB", Options, build, "a verb")]
'''


@pytest.mark.parametrize(
    ("wrong", "verb"),
    [
        (("BUILD", "1 / 0"), "stroll"),
        (("ARGUMENTS", "1 / 0"), "stroll"),
        (("ARGUMENTS", "1 / 0"), "plugins"),
        (("BUILD", "raise SystemExit(7)"), "plugins"),
        (("return [Comp", "1 / 0; return [Comp"), "stroll"),
        (("from core.api", "raise SystemExit(7)\nfrom core.api"), "stroll"),
    ],
)
def test_the_doctor_comes_however_broken_a_verb_is(
    wrong: tuple[str, str], verb: str, install: Install, capsys: Any
) -> None:
    code = VERB.replace(*wrong).replace("BUILD", "return Verb()").replace("ARGUMENTS", "pass")
    install("sp-bad", code.replace("VERB", verb))
    loads = wrong[0] in ("BUILD", "ARGUMENTS")
    text = said(capsys, "doctor", "sp-bad", code=0 if loads else 1)
    assert ("\nsp-bad 0.3: ok\n" if loads else "\nsp-bad 0.3: BROKEN\n") in text
    assert "mask" in said(capsys, "list")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = re.findall(r"(?m)^    ([a-z]\S*)", capsys.readouterr().out)
    built_in = ["bench-execution", "describe", "plugins", "presets", "report", "validate", "watch"]
    assert shown == ["run", "resume", *built_in]
