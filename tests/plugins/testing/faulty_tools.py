"""Figures, verbs and loggers that break one rule each."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure

from core.api import Picture, UserError
from tests.plugins.testing.faulty import Fault, but

# --- figures ----------------------------------------------------------------------------


class Curves:
    """A good figure: the critic's loss."""

    def draw(self, study):
        found = [run.series["loss/critic"] for run in study.runs if "loss/critic" in run.series]
        shown = [series for series in found if len(series.steps)]
        return [self.picture(shown)] if shown else []

    def picture(self, shown):
        figure = self.figure()
        axes = figure.subplots()
        axes.set_xlabel("frames")
        for series in shown:
            axes.plot(series.steps, series.values)
        return Picture("loss", "Losses", "Critic", "The critic's loss.", figure)

    def figure(self):
        return Figure()


def pictured(change):
    """The good figure, with its picture changed."""

    def picture(self, shown):
        picture = Curves.picture(self, shown)
        return change(shown, picture) or picture

    return but(Curves, picture=picture)


days = itertools.count()


def figure(check: str, words: str, kind: type) -> Fault:
    return Fault("figures", check, words, lambda options, context: kind())


# --- verbs ------------------------------------------------------------------------------


class Echo:
    """A good verb."""

    examples = "  python -m core faulty word\n"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("word", help="what to say")

    def execute(self, arguments: argparse.Namespace) -> Any:
        if arguments.word == "wrong":
            raise UserError("say another word")
        return 0


class Breaks(Echo):
    def execute(self, arguments):
        raise KeyError(arguments.word)


def verb(check: str, words: str, kind: type, **more: Any) -> Fault:
    return Fault("commands", check, words, lambda options, context: kind(), **more)


# --- loggers ----------------------------------------------------------------------------


class Lines:
    """A good logger: a text file."""

    mode = "a"

    def __init__(self, context: Any) -> None:
        self.path = context.run.directory / "lines.txt"
        self.file: Any = self.open()

    def open(self) -> Any:
        return self.path.open(self.mode)

    def write(self, step: int, scalars: Any) -> None:
        self.file.write(f"{step} {sorted(scalars.items())}\n")

    def video(self, step: int, path: Path) -> None:
        self.file.write(f"{step} {path}\n")

    def close(self) -> None:
        self.file.close()


class SharedLines(Lines):
    names: ClassVar[list[str]] = []

    def __init__(self, context):
        super().__init__(context)
        self.known = self.names


class TakesScalars(Lines):
    def write(self, step, scalars):
        super().write(step, scalars)
        scalars.clear()


class OneFileEach(Lines):
    def write(self, step, scalars):
        for name, value in scalars.items():
            (self.path.parent / name.replace("/", "_")).write_text(f"{value}\n")


def stray():
    Path("stray.txt").write_text("here")


def logger(check: str, words: str, kind: type) -> Fault:
    return Fault("loggers", check, words, lambda options, context: kind(context))


HELP, EXAMPLES = "help_says_what_every_argument_is", "examples_are_command_lines_that_it_takes"
TAKEN = "takes_whatever_is_logged"
FAULTS = [
    figure("draws_what_runs_hold", "'metrics'", but(Curves, draw=lambda self, study: [])),
    figure(
        *("draws_runs_of_every_form", "give no picture"),
        but(Curves, draw=lambda self, study: Curves.draw(self, study) or [self.picture([])]),
    ),
    figure(
        *("draws_the_same_bytes_again", "loss differ"),
        pictured(lambda shown, drawn: drawn.figure.axes[0].set_xlabel("|" * next(days)) and None),
    ),
    figure(
        *("leaves_everything_as_it_is", "work on copies"),
        pictured(lambda shown, picture: shown[0].values.fill(0.0)),
    ),
    verb(
        *(HELP, "word has no help"),
        but(Echo, add_arguments=lambda self, parser: parser.add_argument("word")),
    ),
    verb(EXAMPLES, "one two", but(Echo, examples="  python -m core faulty one two\n")),
    verb(
        *("it_answers_an_exit_code", "an int"),
        but(Echo, execute=lambda self, arguments: None),
        suite={"good_arguments": [["a"]]},
    ),
    verb("mistakes_are_one_message", "KeyError", Breaks, suite={"bad_arguments": [["wrong"]]}),
    logger("builds_share_no_state", "known", SharedLines),
    logger("writes_scalars", "changed the scalars", TakesScalars),
    logger(
        *("writes_scalars", "stray.txt outside"),
        but(Lines, write=lambda self, *given: Lines.write(self, *given) or stray()),
    ),
    logger(
        *("takes_videos", "took the file away"),
        but(Lines, video=lambda self, step, path: path.rename(path.with_name("mine.mp4"))),
    ),
    logger("a_resumed_run_goes_on", "lost lines.txt", but(Lines, mode="w")),
    logger(TAKEN, "skip or rename", OneFileEach),
]
