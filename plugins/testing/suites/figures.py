"""Conformance of figures."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from core.api.figures import FigureContext, Picture, RecordedRun, RunGroup, Series, Study
from plugins.testing.harness.snapshots import named
from plugins.testing.suites.component import ComponentSuite

NAME = re.compile(r"[a-z0-9_-]+")
FRAMES = 20_000
ROLES = {"actor": ("trunk.input", "head"), "critic": ("members.0.trunk.input", "members.0.head")}
OFTEN = ("loss/actor", "loss/critic", "train/q", "train/return", "time/frames_per_second")
"""Metrics of every log line."""
RARE = (
    "eval/return", "eval/return_std", "time/evaluation", "effective_rank/critic",
    "dormant_ratio/critic/0.1", "parameter_norm/critic", "parameter_norm/critic.members.0.head",
    "gradient_interference/critic/mean_abs", "time/diagnostics/effective_rank",
    "mask/density/critic",
)  # fmt: skip
"""Metrics of evaluations, diagnostics and masks that change."""


class FigureSuite(ComponentSuite):
    """Draws runs of every form, and nothing where there is nothing to draw.

    The runs are made up; what a figure draws besides the usual metrics is named by the suite.
    """

    kind = "figures"
    metrics: ClassVar[Sequence[str]] = ()
    """Metrics that the figure draws and that the suite's runs have not (``OFTEN`` and ``RARE`` of
    ``plugins.testing.suites.figures`` are those that they have)."""
    matrices: ClassVar[Sequence[str]] = ()
    """Likewise matrices; they have ``gradient_interference/critic``."""

    def context(self) -> FigureContext:
        return FigureContext()

    @property
    def named(self) -> Mapping[str, Sequence[str]]:
        return {"metrics": self.metrics, "matrices": self.matrices}

    @contextmanager
    def learning(self) -> Iterator[Study]:
        """Two groups of runs with all there is."""
        with TemporaryDirectory() as folder:
            yield _learning(Path(folder), self.named)

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
            for what, study in _forms(Path(folder), self.named):
                self.drawn(study, what)
            bare = RecordedRun(Path("bare"), problems=("metrics.jsonl is missing",))
            empty = {"a study without runs": Study(()), "a run without files": _study(bare)}
            for what, study in empty.items():
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
    picture.figure.savefig(target, format="png", dpi=20, metadata={"Software": None})
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


# --- runs that are made up, of every form that a report meets


def _run(
    folder: Path, name: str, seed: int, more: Mapping[str, Sequence[str]], reached: int = FRAMES
) -> RecordedRun:
    """A run that came so far; ``metrics`` and ``matrices`` of ``more`` are there too."""
    noise = np.random.default_rng(seed)
    often, rare = np.arange(500, reached + 1, 500), np.arange(2_000, reached + 1, 2_000)
    every = {**dict.fromkeys(OFTEN, often), **dict.fromkeys((*RARE, *more["metrics"]), rare)}
    series = {
        key: Series(steps, 1.0 + steps / FRAMES + noise.normal(0, 0.1, len(steps)))
        for key, steps in every.items()
    }
    series["time/elapsed"] = Series(often, often / 200.0)
    files: dict[str, dict[int, Path]] = {}
    for key in ("gradient_interference/critic", *more["matrices"]):
        place = folder / name / "matrices" / key
        place.mkdir(parents=True)
        files[key] = {int(step): place / f"{step:010d}.npy" for step in rare[[0, -1]]}
        for path in files[key].values():
            np.save(path, np.corrcoef(noise.normal(size=(8, 6))).astype(np.float32))
    densities = {
        role: {f"{name}.weight": {"shape": [16, 8], "density": 0.2} for name in names}
        for role, names in ROLES.items()
    }
    record = {"name": "toy", "densities": densities, "outcome": "finished", "frames": FRAMES}
    listed = {"diagnostics": [{"name": "effective_rank"}], "interventions": []}
    config = {"frames": FRAMES, "seed": seed, **listed}
    return RecordedRun(folder / name, record, config, series, files)


def _learning(folder: Path, more: Mapping[str, Sequence[str]]) -> Study:
    """Two groups of two runs with all there is."""
    return Study(
        tuple(
            RunGroup(f"group {g}", tuple(_run(folder, f"g{g}-s{i}", i, more) for i in range(2)))
            for g in range(2)
        )
    )


def _forms(folder: Path, more: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Study]]:
    """Studies of every form, with what is special about each."""
    whole, early = _run(folder, "whole", 1, more), _run(folder, "early", 2, more, reached=2_500)
    damaged = RecordedRun(folder / "damaged", problems=("run.json is missing",))
    yield "a run that has begun beside a whole one and a damaged one", _study(whole, early, damaged)

    def changed(name: str, change: Callable[[Series], Any]) -> RecordedRun:
        series = {}
        for key, own in whole.series.items():
            values = np.asarray(change(own), dtype=np.float64)
            series[key] = Series(own.steps[: len(values)], values)
        return RecordedRun(folder / name, whole.record, whole.config, series, whole.matrices)

    yield (
        "runs of numbers some or all of which are not finite, of one, of zeros, of none",
        _study(
            changed("broken", lambda own: np.where(own.steps // 500 % 3, own.values, np.nan)),
            changed("once", lambda own: own.values[:1]),
            changed("zero", lambda own: own.values * 0),
            changed("lost", lambda own: own.values * np.nan),
            changed("empty", lambda own: own.values[:0]),
        ),
    )


def _study(*runs: RecordedRun) -> Study:
    return Study(tuple(RunGroup(one.title, (one,)) for one in runs))
