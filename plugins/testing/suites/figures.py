"""Conformance of figures."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
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
    """Metrics that the figure draws and that the suite's runs have not (``OFTEN`` and ``RARE`` of
    ``plugins.testing.harness.studies`` are those that they have)."""
    matrices: ClassVar[Sequence[str]] = ()
    """Likewise matrices; they have ``gradient_interference/critic``."""

    def context(self) -> FigureContext:
        return FigureContext()

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

    def test_draws_what_runs_hold(self) -> None:
        from matplotlib.figure import Figure

        with self.learning() as study:
            pictures = list(self.build().draw(study))
        assert pictures, (
            "it draws nothing of runs that hold all the usual; name the metrics and matrices "
            f"that it draws in 'metrics' and 'matrices' of {type(self).__name__}"
        )
        names = [picture.name for picture in pictures]
        assert len(set(names)) == len(names), f"two pictures have one name: {named(names)}"
        for picture in pictures:
            assert NAME.fullmatch(picture.name), (
                f"a picture's name is a file's: lower case, digits, _ and -; got {picture.name!r}"
            )
            for field in ("section", "title", "caption"):
                text = getattr(picture, field)
                said = isinstance(text, str) and text.strip()
                assert said, f"'{field}' of '{picture.name}' is {text!r}, not a text"
            assert isinstance(picture.figure, Figure), (
                f"'figure' of '{picture.name}' is to be a matplotlib.figure.Figure"
            )

    def test_draws_runs_of_every_form(self) -> None:
        with TemporaryDirectory() as folder:
            more = {"metrics": self.metrics, "matrices": self.matrices}
            for what, study in studies.forms(Path(folder), **more).items():
                self.drawn(study, what)
            for what, study in studies.nothing(Path(folder)).items():
                pictures = self.drawn(study, what)
                assert not pictures, (
                    f"of {what} it draws {named(list(pictures))}: give no picture "
                    "where the runs hold nothing to draw; the report says which figures are empty"
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

    def test_leaves_everything_as_it_is(self) -> None:
        import matplotlib

        with self.learning() as study:
            numbers, settings, opened = _numbers(study), dict(matplotlib.rcParams), _open()
            list(self.build().draw(study))
            assert numbers == _numbers(study), "it writes into the runs' series: work on copies"
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
