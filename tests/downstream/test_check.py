"""``plugins check``: what it runs, what it says, and with which exit code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.cli import main

VERB = '''
"""A plugin in a file."""

from dataclasses import dataclass

from core.api import Component, hookimpl


@dataclass(frozen=True)
class Options:
    """A verb takes arguments, not options."""


class Verb:
    examples = "  python -m core shout --loud\\n"

    def add_arguments(self, parser):
        parser.add_argument("--loud", action="store_true", help="with a capital")

    def execute(self, arguments):
        return 0


@hookimpl
def register_commands():
    return [Component("shout", Options, lambda options, context: Verb(), SUMMARY)]
'''
LOGGER = '''
"""A plugin in a file."""

from dataclasses import dataclass

from core.api import Component, hookimpl, require


@dataclass(frozen=True)
class Options:
    """Of the logger."""

    most: int
    """Lines to keep, at least 1."""

    def __post_init__(self):
        require(self.most >= 1, "most", f"must be at least 1, got {self.most}")


class Logger:
    def __init__(self, path):
        self.path = path

    def write(self, step, scalars):
        with self.path.open("a") as file:
            file.write(f"{step} {dict(scalars)}\\n")

    def video(self, step, path):
        """Nothing."""

    def close(self):
        """Nothing is open."""


def build(options, context):
    return Logger(context.run.directory / "shouted.txt")


@hookimpl
def register_loggers():
    return [Component("shout", Options, build, "writes lines")]
'''


def plugin(folder: Path, summary: str = "says it", source: str = VERB) -> str:
    path = folder / "shout.py"
    path.write_text(source.replace("SUMMARY", repr(summary)))
    return str(path)


def check(*words: str) -> int:
    return main(["plugins", "check", *words])


def test_a_file_that_passes(tmp_path: Path, capsys: Any) -> None:
    assert check(plugin(tmp_path)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"command 'shout' \(shout\.py [0-9a-f]{12}\): \d passed, \d skipped in \d+\.\d s", line
    )


def test_every_check_is_shown_if_asked(tmp_path: Path, capsys: Any) -> None:
    assert check(plugin(tmp_path), "--verbose") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|skipped)", first)}
    for outcome, count in counts.items():
        assert sum(line.startswith(f"    {outcome} ") for line in lines) == count
    assert "    passed options_are_documented" in lines


def test_what_fails_is_told_with_exit_code_1(tmp_path: Path, capsys: Any) -> None:
    mute = VERB.replace(', help="with a capital"', "")
    assert check(plugin(tmp_path, source=mute)) == 1
    out = capsys.readouterr().out
    assert ": 1 failed, " in out
    failed = "failed help_says_what_every_argument_is: the argument --loud has no help"
    assert f"\n    {failed}" in out


def test_options_are_given_as_in_a_preset(tmp_path: Path, capsys: Any) -> None:
    file = plugin(tmp_path, source=LOGGER)
    assert check(file) == 2
    message = f"{file}: give what presets have to give\n    logger 'shout' needs shout.most=VALUE\n"
    assert capsys.readouterr().err == message
    assert check(file, "shout.most=40") == 0
    capsys.readouterr()
    assert check(file, "shout.most=0") == 1
    assert "failed options_are_accepted" in capsys.readouterr().out
    assert check(file, "shut.most=40") == 2
    assert "write COMPONENT.option=value. Did you mean 'shout'?" in capsys.readouterr().err
    assert check(file, "shout=40") == 2
    assert "it offers: shout" in capsys.readouterr().err


def test_capabilities_are_those_of_the_suite(tmp_path: Path, capsys: Any) -> None:
    assert check(plugin(tmp_path), "--capability", "shout.flying=false") == 1
    assert "failed is_found_by_its_name: " in capsys.readouterr().out


def test_a_plugin_that_cannot_be_loaded_fails(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import no_such_module\n")
    assert check(str(file)) == 1
    out = capsys.readouterr().out
    assert re.match(r"broken\.py [0-9a-f]{12} cannot be used: ModuleNotFoundError", out)
    assert f'    File "{file}", line 1, in <module>' in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such.py", "--plugin no/such.py: there is no such file"),
        ("openwrk", "no plugin of that name is installed. Did you mean 'openwork'?"),
        ("pluggy", "is installed, but names no plugin; its pyproject.toml needs\n"),
    ],
)
def test_what_is_not_there(name: str, message: str, capsys: Any) -> None:
    assert check(name) == 2
    assert message in capsys.readouterr().err
