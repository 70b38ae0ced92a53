"""Conformance of verbs of the command line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from core.api.commands import Catalogue, CommandContext
from core.api.errors import UserError
from plugins.testing.harness import runs
from plugins.testing.suites.component import ComponentSuite

CORES = ("execute", "verb")
"""Names of arguments that core uses itself."""


class CommandSuite(ComponentSuite):
    """A verb with help, examples that it takes, and one message for a user's mistake."""

    kind = "commands"
    good_arguments: ClassVar[Sequence[Sequence[str]]] = ()
    """Words after the verb with which it succeeds quickly; ``{run}`` stands for the directory of a
    short finished run, ``{folder}`` for an empty one."""
    bad_arguments: ClassVar[Sequence[Sequence[str]]] = ()
    """Words with which it fails by the user's mistake, such as a run that is not there."""

    def context(self) -> CommandContext:
        def catalogue(
            files: Sequence[Path] = (), *, without: Sequence[str] = (), strict: bool = False
        ) -> Catalogue:
            return self.plugins

        return CommandContext(catalogue)

    def parser(self, command: Any) -> argparse.ArgumentParser:
        """The verb's parser, as core makes it."""
        name = self.found.name
        verbs = argparse.ArgumentParser(prog="python -m core").add_subparsers()
        parser = verbs.add_parser(name, help=self.found.summary, epilog=command.examples)
        command.add_arguments(parser)
        return parser

    def test_it_needs_no_options(self) -> None:
        try:
            self.found.options()
        except TypeError as error:
            raise AssertionError(
                f"a verb is built with no options given ({error}): give every option a default, or "
                "make it an argument"
            ) from None

    def test_help_says_what_every_argument_is(self) -> None:
        parser = self.parser(self.build())
        code, _ = _parsed(parser, ["--help"])
        assert code == 0, f"--help ends with {code}"
        for action in parser._actions:
            names = "/".join(action.option_strings) or action.dest
            assert action.help, f"the argument {names} has no help: say what it is, and its default"
            taken = action.dest in CORES
            assert not taken, f"the argument {names} is kept as '{action.dest}', which core uses"

    def test_arguments_can_be_added_twice(self) -> None:
        command = self.build()
        first, second = (self.parser(command).format_help() for _ in range(2))
        assert first == second, (
            "'add_arguments' adds other arguments the second time: core calls it once for trial"
        )

    def test_examples_are_command_lines_that_it_takes(self) -> None:
        command = self.build()
        lines = [line for line in command.examples.splitlines() if line.strip()]
        assert lines, "'examples' is empty: give a command line or two, as its help shows them"
        start = f"python -m core {self.found.name}"
        for line in lines:
            words = shlex.split(line, comments=True)
            assert line.strip().startswith(start), (
                f"examples are lines that begin with '{start}', got '{line.strip()}'"
            )
            code, message = _parsed(self.parser(command), words[4:])
            assert code is None, f"it does not take its own example '{line.strip()}': {message}"

    def test_unknown_arguments_end_with_code_2(self) -> None:
        command = self.build()
        words = shlex.split(command.examples.strip().splitlines()[0], comments=True)[4:]
        code, _ = _parsed(self.parser(command), [*words, "--no-such-argument"])
        assert code == 2, (
            f"--no-such-argument ends with {code}, not 2: leave argparse to refuse what the verb "
            "does not know"
        )

    def test_it_answers_an_exit_code(self) -> None:
        if not self.good_arguments:
            self.skip(f"{type(self).__name__}: give arguments that succeed in 'good_arguments'")
        for words in self.good_arguments:
            with self._places(words) as given:
                command = self.build()
                with _captured():
                    code = command.execute(self.parser(command).parse_args(given))
                assert type(code) is int, (
                    f"'execute' is to answer the process's exit code, an int; got {code!r}"
                )
                assert code == 0, f"{' '.join(words)} ends with {code}, not 0"

    def test_mistakes_are_one_message(self) -> None:
        if not self.bad_arguments:
            self.skip(f"{type(self).__name__}: give arguments that fail in 'bad_arguments'")
        for words in self.bad_arguments:
            with self._places(words) as given:
                self._fails(given, " ".join(words))

    def _fails(self, given: list[str], shown: str) -> None:
        command = self.build()
        code, _ = _parsed(self.parser(command), given)
        if code is not None:
            assert code == 2, f"{shown} ends with {code}, a user's mistake ends with 2"
            return
        arguments = self.parser(command).parse_args(given)
        try:
            with _captured() as (_, err):
                code = command.execute(arguments)
        except UserError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(
                f"{shown} raises {type(error).__name__} ({error}), which users see as a traceback; "
                "raise core.api.UserError"
            ) from error
        else:
            raise AssertionError(
                f"{shown} ends with {code} and no UserError; printed: {err.getvalue()[:200]}"
            )
        assert message.strip(), f"{shown} raises a UserError without a message"

    @contextmanager
    def _places(self, words: Sequence[str]) -> Iterator[list[str]]:
        """The words with ``{run}`` and ``{folder}`` filled in, in a directory of their own."""
        with TemporaryDirectory() as place:
            run, folder, here = (Path(place) / name for name in ("a-run", "folder", "here"))
            for directory in (folder, here):
                directory.mkdir()
            if any("{run}" in word for word in words):
                runs.record(self.plugins, run)
            before = Path.cwd()
            os.chdir(here)
            try:
                filled = [w.replace("{run}", str(run)) for w in words]
                yield [w.replace("{folder}", str(folder)) for w in filled]
            finally:
                os.chdir(before)


@contextmanager
def _captured() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[Any, str]:
    """The exit code with which parsing ends, and what it prints; None where it succeeds."""
    with _captured() as (_, err):
        try:
            parser.parse_args(words)
        except SystemExit as ended:
            return ended.code or 0, err.getvalue().strip()
    return None, ""
