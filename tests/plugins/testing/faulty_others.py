"""Figures, verbs and loggers that break one rule each."""

from __future__ import annotations

import argparse
import itertools
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from matplotlib import pyplot
from matplotlib.figure import Figure

from core.api import Picture, UserError
from tests.plugins.testing.faulty import Fault

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


class DrawsNothing(Curves):
    def draw(self, study):
        return []


class NeedsALoss(Curves):
    def draw(self, study):
        return [self.picture([run.series["loss/critic"] for run in study.runs])]


class NeedsNumbers(Curves):
    def draw(self, study):
        for run in study.runs:
            if "loss/critic" in run.series:
                run.series["loss/critic"].values[-1]
        return super().draw(study)


class DrawsEmptyAxes(Curves):
    def draw(self, study):
        return super().draw(study) or [self.picture([])]


class NamesBadly(Curves):
    def picture(self, shown):
        figure = super().picture(shown).figure
        return Picture("The Loss", "Losses", "Critic", "The critic's loss.", figure)


class Unlabelled(Curves):
    def picture(self, shown):
        picture = super().picture(shown)
        picture.figure.axes[0].set_xlabel("")
        return picture


class OfTheDay(Curves):
    days = itertools.count()

    def picture(self, shown):
        picture = super().picture(shown)
        picture.figure.axes[0].set_xlabel("|" * next(self.days))
        return picture


class WritesIntoRuns(Curves):
    def picture(self, shown):
        shown[0].values[0] = 0.0
        return super().picture(shown)


class LeavesOpen(Curves):
    def figure(self):
        return pyplot.figure()


def figure(check: str, words: str, kind: type) -> Fault:
    return Fault("figures", check, lambda options, context: kind(), words)


# --- verbs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RequiredOption:
    """Which no verb may have."""

    depth: int
    """How deep."""


class Echo:
    """A good verb."""

    examples = "  python -m core faulty word\n"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("word", help="what to say")

    def execute(self, arguments: argparse.Namespace) -> Any:
        if arguments.word == "wrong":
            raise UserError("say another word")
        return 0


class Unexplained(Echo):
    def add_arguments(self, parser):
        parser.add_argument("word")


class AddsOnce(Echo):
    added = False

    def add_arguments(self, parser):
        if not self.added:
            super().add_arguments(parser)
        self.added = True


class OtherExamples(Echo):
    examples = "  python -m core faulty one two\n"


class TakesAnything(Echo):
    def add_arguments(self, parser):
        parser.add_argument("word", nargs=argparse.REMAINDER, help="what to say")


class AnswersNothing(Echo):
    def execute(self, arguments):
        return None


class Breaks(Echo):
    def execute(self, arguments):
        raise KeyError(arguments.word)


def verb(check: str, words: str, kind: type, **more: Any) -> Fault:
    return Fault("commands", check, lambda options, context: kind(), words, **more)


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


class MovesVideos(Lines):
    def video(self, step, path):
        path.rename(path.with_name("mine.mp4"))
        super().video(step, path)


class ClosesOnce(Lines):
    def close(self):
        self.file.flush()
        file, self.file = self.file, None
        file.close()


class OpensLate(Lines):
    def open(self):
        return None

    def write(self, step, scalars):
        self.file = self.file or self.path.open("a")
        super().write(step, scalars)


class StartsAfresh(Lines):
    mode = "w"


class OneFileEach(Lines):
    def write(self, step, scalars):
        for name, value in scalars.items():
            (self.path.parent / name.replace("/", "_")).write_text(f"{value}\n")


class WritesIntegers(Lines):
    def write(self, step, scalars):
        super().write(step, {name: int(value) for name, value in scalars.items()})


class WritesHere(Lines):
    def open(self):
        return Path("lines.txt").open("a")


class AsksAServer(Lines):
    def write(self, step, scalars):
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        except OSError:
            super().write(step, scalars)


def logger(check: str, words: str, kind: type) -> Fault:
    return Fault("loggers", check, lambda options, context: kind(context), words)


GOOD_FIGURE, GOOD_LOGGER = figure("", "", Curves), logger("", "", Lines)
GOOD_VERB = verb("", "", Echo, suite={"good_arguments": [["a"]], "bad_arguments": [["wrong"]]})
FAULTS = [
    figure("draws_what_runs_hold", "'metrics'", DrawsNothing),
    figure("draws_runs_of_every_form", "KeyError", NeedsALoss),
    figure("draws_runs_of_every_form", "IndexError", NeedsNumbers),
    figure("draws_nothing_where_there_is_nothing", "give no picture", DrawsEmptyAxes),
    figure("pictures_say_what_they_are", "'The Loss'", NamesBadly),
    figure("axes_say_what_they_show", "neither label nor title", Unlabelled),
    figure("draws_the_same_bytes_again", "loss differ", OfTheDay),
    figure("leaves_runs_as_they_are", "work on copies", WritesIntoRuns),
    figure("leaves_no_figure_open", "stay open", LeavesOpen),
    verb("it_needs_no_options", "default", Echo, options_type=RequiredOption, options={"depth": 1}),
    verb("help_says_what_every_argument_is", "word has no help", Unexplained),
    verb("arguments_can_be_added_twice", "second time", AddsOnce),
    verb("examples_are_command_lines_that_it_takes", "one two", OtherExamples),
    verb("unknown_arguments_end_with_code_2", "not 2", TakesAnything),
    verb("it_answers_an_exit_code", "an int", AnswersNothing, suite={"good_arguments": [["a"]]}),
    verb("mistakes_are_one_message", "KeyError", Breaks, suite={"bad_arguments": [["wrong"]]}),
    verb("mistakes_are_one_message", "no UserError", Echo, suite={"bad_arguments": [["right"]]}),
    logger("builds_share_no_state", "known", SharedLines),
    logger("writes_scalars", "changed the scalars", TakesScalars),
    logger("takes_videos", "took the file away", MovesVideos),
    logger("closing_twice_is_allowed", "second 'close'", ClosesOnce),
    logger("closing_before_anything_is_allowed", "may fail early", OpensLate),
    logger("a_resumed_run_goes_on", "lost lines.txt", StartsAfresh),
    logger("takes_whatever_is_logged", "odd names", OneFileEach),
    logger("takes_whatever_is_logged", "odd numbers", WritesIntegers),
    logger("writes_under_the_run_directory_only", "lines.txt outside", WritesHere),
    logger("writes_under_the_run_directory_only", "another machine", AsksAServer),
]
