"""Conformance of figures."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from core.api.figures import FigureContext, Picture, Study
from plugins.testing.harness import studies
from plugins.testing.harness.snapshots import named
from plugins.testing.suites.component import ComponentSuite

NAME = re.compile(r"[a-z0-9_-]+")


class FigureSuite(ComponentSuite):
    """Draws runs of every form, and nothing where there is nothing to draw.

    The runs are made up; what a figure draws besides the usual metrics is named by the suite.
    """

    kind = "figures"
    metrics: ClassVar[Sequence[str]] = ()
    """Metrics that the figure draws and that the suite's runs have not (``studies.OFTEN`` and
    ``studies.RARE`` of ``plugins.testing`` are those that they have)."""
    matrices: ClassVar[Sequence[str]] = ()
    """Likewise matrices; they have ``gradient_interference/critic``."""
    switches: ClassVar[Mapping[str, bool]] = {"labels": True}
    """``labels``: every axes has a title or a label."""

    def context(self) -> FigureContext:
        return FigureContext()

    @contextmanager
    def forms(self) -> Iterator[Mapping[str, Study]]:
        """Studies by what is special about each."""
        with TemporaryDirectory() as folder:
            yield studies.forms(Path(folder), metrics=self.metrics, matrices=self.matrices)

    @contextmanager
    def learning(self) -> Iterator[Study]:
        """Two groups of runs with all there is."""
        with TemporaryDirectory() as folder:
            yield studies.learning(Path(folder), metrics=self.metrics, matrices=self.matrices)

    def drawn(self, study: Study, what: str) -> dict[str, bytes]:
        """Its pictures as files, by name; a warning is a fault."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return {picture.name: _bytes(picture) for picture in self.build().draw(study)}
            except Exception as error:
                raise AssertionError(
                    f"drawing {what} raises {type(error).__name__}: {error}"
                ) from error

    def pictures(self) -> list[Picture]:
        """Its pictures of two groups of runs, not drawn to the end."""
        with self.learning() as study:
            return list(self.build().draw(study))

    def test_draws_what_runs_hold(self) -> None:
        assert self.pictures(), (
            "it draws nothing of runs that hold all the usual; name the metrics and matrices "
            f"that it draws in 'metrics' and 'matrices' of {type(self).__name__}"
        )

    def test_draws_runs_of_every_form(self) -> None:
        with self.forms() as found:
            for what, study in found.items():
                self.drawn(study, what)

    def test_draws_nothing_where_there_is_nothing(self) -> None:
        with TemporaryDirectory() as folder:
            for what, study in studies.nothing(Path(folder)).items():
                pictures = self.drawn(study, what)
                assert not pictures, (
                    f"of {what} it draws {named(list(pictures))}: give no picture "
                    "where the runs hold nothing to draw; the report says which figures are empty"
                )

    def test_pictures_say_what_they_are(self) -> None:
        from matplotlib.figure import Figure

        pictures = self.pictures()
        names = [picture.name for picture in pictures]
        assert len(set(names)) == len(names), f"two pictures have one name: {named(names)}"
        for picture in pictures:
            assert NAME.fullmatch(picture.name), (
                f"a picture's name is a file's: lower case, digits, _ and -; got {picture.name!r}"
            )
            for field in ("section", "title", "caption"):
                text = getattr(picture, field)
                assert isinstance(text, str), f"'{field}' of '{picture.name}' is {text!r}"
                assert text.strip(), f"'{field}' of '{picture.name}' is empty"
            assert isinstance(picture.figure, Figure), (
                f"'figure' of '{picture.name}' is to be a matplotlib.figure.Figure"
            )

    def test_axes_say_what_they_show(self) -> None:
        self.require("labels")
        for picture in self.pictures():
            for axes in picture.figure.axes:
                titles = (axes.get_title(loc=where) for where in ("left", "center", "right"))
                said = [axes.get_xlabel(), axes.get_ylabel(), *titles]
                assert any(text.strip() for text in said) or not axes.axison, (
                    f"an axes of '{picture.name}' has neither label nor title"
                )

    def test_draws_the_same_bytes_again(self) -> None:
        with self.learning() as study:
            first, second = (self.drawn(study, "two groups of runs") for _ in range(2))
            assert list(first) == list(second), "drawn twice, there are other pictures"
            other = [name for name in first if first[name] != second[name]]
            assert not other, (
                f"drawn twice, {named(other)} differ: seed what is drawn at random (bootstraps), "
                "and show no time of day"
            )

    def test_leaves_runs_as_they_are(self) -> None:
        with self.learning() as study:
            before = _numbers(study)
            list(self.build().draw(study))
            assert before == _numbers(study), "it writes into the runs' series: work on copies"

    def test_leaves_no_figure_open(self) -> None:
        import matplotlib

        with self.learning() as study:
            settings, opened = dict(matplotlib.rcParams), _open()
            list(self.build().draw(study))
            assert _open() == opened, (
                "figures stay open in pyplot: make them with matplotlib.figure.Figure, or close "
                "them with pyplot.close"
            )
            changed = [str(key) for key in settings if matplotlib.rcParams[key] != settings[key]]
            assert not changed, (
                f"it changes matplotlib's settings ({named(changed)}) for all other figures: use "
                "matplotlib.rc_context, and draw within it"
            )


def _bytes(picture: Picture) -> bytes:
    target = io.BytesIO()
    picture.figure.savefig(target, format="png", dpi=40, metadata={"Software": None})
    return target.getvalue()


def _open() -> list[int]:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(pyplot.get_fignums())


def _numbers(study: Study) -> list[tuple[str, bytes, bytes]]:
    return [
        (f"{run.title}/{key}", series.steps.tobytes(), series.values.tobytes())
        for run in study.runs
        for key, series in run.series.items()
    ]
