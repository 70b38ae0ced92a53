"""``interference``: matrices of cosine similarities between gradients, from start to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import matplotlib as mpl
import numpy as np

from core.api import Picture, RecordedRun, Study
from plugins.figures import style
from plugins.figures.keys import picture_name
from plugins.figures.ticks import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from core.api import FigureContext
    from plugins.figures.aligning import Array
    from plugins.figures.options import InterferenceOptions

SECTION = "Gradient interference"
DIAGNOSTIC = "gradient_interference"
COLUMNS = 5
"""Frames shown of a run, at most."""
CAPTION = (
    "Cosine similarity of the loss gradients of every two samples of a batch, -1 to 1. Red: an "
    "update for one serves the other; blue: it undoes it; white: they leave each other alone. "
    "Colour off the diagonal is interference. {which}(Lyle et al. 2023; Ma et al. 2025, "
    "section 4.4.)"
)


@final
class Interference:
    """Heatmaps of gradient matrices; implements ``Figure``."""

    def __init__(self, options: InterferenceOptions, context: FigureContext) -> None:
        """It has no options."""

    def draw(self, study: Study) -> Iterator[Picture]:
        found = (name for run in study.runs for name in run.matrices)
        for name in dict.fromkeys(n for n in found if n.partition("/")[0] == DIAGNOSTIC):
            shown = [
                (group.label, run) for group in study.groups if (run := _first(group.runs, name))
            ]
            if shown:
                yield _picture(name, shown)


def _first(runs: tuple[RecordedRun, ...], name: str) -> RecordedRun | None:
    """The group's first run that has such matrices."""
    return next((run for run in runs if run.matrices.get(name)), None)


def _picture(name: str, shown: list[tuple[str, RecordedRun]]) -> Picture:
    columns = max(len(chosen(run.matrices[name])) for _, run in shown)
    rows = len(shown)
    wide = max(columns, 3)  # a single heatmap does not fill the page
    height = rows * ((style.WIDTH - 1.2) / wide + 0.1)
    figure = style.new_figure(height)
    grid = figure.subplots(rows, wide, squeeze=False)
    last = None
    for line, (label, run) in zip(grid, shown, strict=True):
        frames = chosen(run.matrices[name])
        for axes, frame in zip(line, frames, strict=False):
            last = _heatmap(axes, frame, run.matrices[name][frame]) or last
        line[0].set_ylabel(f"{style.wrap(label, 22)}\nsample" if rows > 1 else "sample")
        for spare in line[len(frames) :]:
            spare.remove()
    if last is not None:
        place: dict[str, Any] = {"shrink": min(0.9, 3 / height), "anchor": (0, 1), "aspect": 25}
        bar = figure.colorbar(last, ax=figure.axes, pad=0.01, **place)
        style.dress_colorbar(bar, "cosine similarity")
    phase = name.partition("/")[2].replace("/", ", ")
    which = "One run of each group, the first. " if rows > 1 else ""
    title = f"Gradients of single samples: {phase}"
    return Picture(
        picture_name("interference", phase), SECTION, title, CAPTION.format(which=which), figure
    )


def chosen(files: Mapping[int, Path]) -> list[int]:
    """At most ``COLUMNS`` frames, evenly from the first to the last."""
    frames = sorted(files)
    places = np.linspace(0, len(frames) - 1, min(COLUMNS, len(frames)))
    return [frames[round(place)] for place in places]


def _heatmap(axes: Axes, frame: int, path: Path) -> Any:
    """Draw one matrix; None if its file cannot be read, which the panel says."""
    matrix = _load(path)
    (written,) = Numbers().format_ticks([frame])
    style.dress(axes, f"frame {written}", "sample", "sample")
    axes.grid(visible=False)
    axes.set_aspect("equal")
    if matrix is None:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5, 0.5, "file damaged", ha="center", fontsize=style.TEXT, transform=axes.transAxes
        )
        return None
    shades = mpl.colormaps["RdBu_r"].with_extremes(bad=style.GRID)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(matrix), cmap=shades, vmin=-1, vmax=1, rasterized=True
    )
    rows, columns = matrix.shape
    axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=[0, columns], yticks=[0, rows])
    return mesh


def _load(path: Path) -> Array | None:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return matrix if matrix.ndim == 2 and matrix.size else None
