"""Conformance of verbs of the command line."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from core.api.commands import CommandContext
from core.api.errors import UserError
from plugins.testing.harness import runs
from plugins.testing.suites.component import ComponentSuite


class CommandSuite(ComponentSuite):
    """A verb with help, examples that it takes, and one message for a user's mistake."""

    kind = "commands"
    good_arguments: ClassVar[Sequence[Sequence[str]]] = ()
    """Words after the verb with which it succeeds quickly; ``{run}`` stands for the directory of a
    short finished run, ``{folder}`` for an empty one."""
    bad_arguments: ClassVar[Sequence[Sequence[str]]] = ()
    """Words with which it fails by the user's mistake, such as a run that is not there."""

    def context(self) -> CommandContext:
        return CommandContext()

    def parser(self, command: Any) -> argparse.ArgumentParser:
        """The verb's parser, as core makes it."""
        name = self.found.name
        verbs = argparse.ArgumentParser(prog="python -m core").add_subparsers()
        parser = verbs.add_parser(name, help=self.found.summary, epilog=command.examples)
        command.add_arguments(parser)
        return parser

    def test_help_says_what_every_argument_is(self) -> None:
        try:
            self.found.options()
        except TypeError as error:
            told = "give every option a default, or make it an argument"
            raise AssertionError(
                f"a verb is built with no options given ({error}): {told}"
            ) from None
        command = self.build()
        parser = self.parser(command)
        for action in parser._actions:
            names = "/".join(action.option_strings) or action.dest
            assert action.help, f"the argument {names} has no help: say what it is, and its default"
            taken = action.dest in ("execute", "verb")
            assert not taken, f"the argument {names} is kept as '{action.dest}', which core uses"
        again = self.parser(command).format_help()
        assert parser.format_help() == again, "'add_arguments' adds others the second time"

    def test_examples_are_command_lines_that_it_takes(self) -> None:
        command = self.build()
        lines = [line.strip() for line in command.examples.splitlines() if line.strip()]
        assert lines, "'examples' is empty: give a command line or two, as its help shows them"
        start = f"python -m core {self.found.name}"
        for line in lines:
            assert line.startswith(start), f"examples begin with '{start}', not so '{line}'"
            words = shlex.split(line, comments=True)[4:]
            code, message = _parsed(self.parser(command), words)
            assert code is None, f"it does not take its own example '{line}': {message}"
            code, _ = _parsed(self.parser(command), [*words, "--no-such-argument"])
            assert code == 2, (
                f"--no-such-argument ends with {code}, not 2: leave argparse to refuse what the "
                "verb does not know"
            )

    def test_it_answers_an_exit_code(self) -> None:
        if not self.good_arguments:
            self.skip(f"{type(self).__name__}: give arguments that succeed in 'good_arguments'")
        for words in self.good_arguments:
            with self._places(words) as given, _captured():
                command = self.build()
                code = command.execute(self.parser(command).parse_args(given))
            right = type(code) is int and code == 0
            assert right, f"{' '.join(words)} ends with {code!r}; 'execute' is to answer 0, an int"

    def test_mistakes_are_one_message(self) -> None:
        if not self.bad_arguments:
            self.skip(f"{type(self).__name__}: give arguments that fail in 'bad_arguments'")
        for words in self.bad_arguments:
            with self._places(words) as given:
                told = self._fails(given)
            assert not told, f"{' '.join(words)} {told}; raise core.api.UserError with a message"

    def _fails(self, given: list[str]) -> str:
        """What is wrong with how it fails; empty if all is well."""
        command = self.build()
        code, _ = _parsed(self.parser(command), given)
        if code is not None:
            return "" if code == 2 else f"ends with {code}, not 2"
        try:
            with _captured():
                code = command.execute(self.parser(command).parse_args(given))
        except UserError as error:
            return "" if str(error).strip() else "says nothing"
        except Exception as error:
            return f"raises {type(error).__name__} ({error}), which users see as a traceback"
        return f"ends with {code} and no UserError"

    @contextmanager
    def _places(self, words: Sequence[str]) -> Iterator[list[str]]:
        """The words with ``{run}`` and ``{folder}`` filled in, in a directory of their own."""
        with TemporaryDirectory() as place:
            run, folder, here = (Path(place) / name for name in ("a-run", "folder", "here"))
            for directory in (folder, here):
                directory.mkdir()
            if any("{run}" in word for word in words):
                runs.record(self.plugins, run)
            with contextlib.chdir(here):
                filled = [w.replace("{run}", str(run)) for w in words]
                yield [w.replace("{folder}", str(folder)) for w in filled]


@contextmanager
def _captured() -> Iterator[io.StringIO]:
    """What goes to standard error meanwhile; nothing is printed."""
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        yield err


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[Any, str]:
    """The exit code with which parsing ends, and what it prints; None where it succeeds."""
    with _captured() as err:
        try:
            parser.parse_args(words)
        except SystemExit as ended:
            return ended.code or 0, err.getvalue().strip()
    return None, ""
