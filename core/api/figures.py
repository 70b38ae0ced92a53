"""The seams of showing runs that are on disk: what a figure draws from, and what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure
    from numpy import ndarray

    Array = ndarray[Any, Any]


RUNS = Path("runs")
"""Where runs are written, and looked for, unless another place is given."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of groups, in their order: told apart by all kinds of colour vision (Okabe and Ito 2008)."""


def colour(index: int) -> str:
    """Of the group at ``index`` of :attr:`Study.groups`; they come round again."""
    return COLOURS[index % len(COLOURS)]


@dataclass(frozen=True)
class Series:
    """One metric over a run."""

    steps: Array
    """Environment frames, ascending, ``[n]`` int64."""
    values: Array
    """``[n]`` float64; NaN where the run's number was not finite."""


@dataclass(frozen=True)
class RecordedRun:
    """A run as its directory tells it, however far it came."""

    directory: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    """``run.json``; empty if it is missing or damaged."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """``resolved.yaml`` as plain Python; empty if missing or damaged."""
    series: Mapping[str, Series] = field(default_factory=dict)
    """Every metric of ``metrics.jsonl``, by name."""
    matrices: Mapping[str, Mapping[int, Path]] = field(default_factory=dict)
    """``.npy`` files by name (``gradient_interference/critic``) and frame, ascending."""
    problems: tuple[str, ...] = ()
    """What is missing or damaged, a sentence each."""

    @property
    def title(self) -> str:
        """The directory's name."""
        return self.directory.name


@dataclass(frozen=True)
class RunGroup:
    """Runs whose presets differ in nothing but their seeds."""

    label: str
    """What sets the group apart from the others, such as ``sparsity 0.8``."""
    runs: tuple[RecordedRun, ...]


@dataclass(frozen=True)
class Study:
    """The runs of one report, grouped by what differs between their presets."""

    groups: tuple[RunGroup, ...]

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        return tuple(run for group in self.groups for run in group.runs)


@dataclass(frozen=True)
class Picture:
    """A drawn figure."""

    name: str
    """Lower case, digits, ``_`` and ``-``; the file's name beside the report."""
    section: str
    """The report's heading that it stands under."""
    title: str
    caption: str
    """What is shown, in which unit, and how to read it."""
    figure: MatplotlibFigure
    folded: bool = False
    """Shown only when it is unfolded: for details."""


class Figure(Protocol):
    """Draws what it finds in a study; nothing, if the runs hold nothing of it."""

    def draw(self, study: Study) -> Iterable[Picture]: ...


@dataclass(frozen=True)
class FigureContext:
    """Empty on purpose: a figure follows from its options and the study."""
