"""Metrics over frames: groups laid over each other, one panel per metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from core.api import colour
from plugins.figures import style
from plugins.figures.aligning import align, bootstrap_interval, mean, smoothed
from plugins.figures.catalogue import Quantity
from plugins.figures.keys import in_order
from plugins.figures.records import listed
from plugins.figures.ticks import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from core.api import RecordedRun, RunGroup, Series, Study
    from plugins.figures.aligning import Array, Statistic

BAND_RUNS = 5
"""Runs from which on a group gets a bootstrap interval."""
DECADES = 2
"""Positive amounts that span more than this get a logarithmic axis."""
MARKS = 20
"""Interventions that are drawn as lines across a panel, at most."""


@dataclass(frozen=True)
class Panel:
    """One metric in axes of its own."""

    key: str
    title: str
    quantity: Quantity


@dataclass(frozen=True)
class Drawing:
    """How the runs of a group become one line."""

    statistic: Statistic = mean
    named: str = "mean"
    smooth: int | None = None
    """Numbers in the running mean of each run, odd; None: about a hundredth of them."""

    def window(self, numbers: int) -> int:
        """Of the running mean over a run of so many numbers."""
        return 2 * (numbers // 200) + 1 if self.smooth is None else self.smooth


def present(study: Study, wanted: Callable[[str], bool] = lambda key: True) -> list[str]:
    """Metrics with a finite number in some run, in the order in which runs write them."""
    orders = [
        [k for k, series in run.series.items() if wanted(k) and np.isfinite(series.values).any()]
        for run in study.runs
    ]
    return in_order(orders)


def series_of(group: RunGroup, key: str) -> list[tuple[RecordedRun, Series]]:
    """A group's runs that have a finite number of this metric."""
    found = ((run, run.series[key]) for run in group.runs if key in run.series)
    return [(run, series) for run, series in found if np.isfinite(series.values).any()]


def last_frame(study: Study) -> int:
    """The last frame with any number in any run."""
    ends = [int(s.steps[-1]) for run in study.runs for s in run.series.values() if len(s.steps)]
    return max(ends, default=0)


def draw_panels(study: Study, panels: Sequence[Panel], drawing: Drawing) -> Figure:
    """A picture of one panel per metric, with a legend above them."""
    columns = style.columns_of(len(panels))
    height = {1: 3.4, 2: 2.8}.get(columns, 2.3)
    entries = legend_entries(study, [panel.key for panel in panels])
    above = style.legend_height(entries)
    figure, grid = style.panel_grid(len(panels), columns, height, above)
    for axes, panel in zip(grid, panels, strict=True):
        room = style.WIDTH / columns - 0.6
        style.dress(axes, panel.title, "environment frames", panel.quantity.unit, room)
        _draw_panel(axes, study, panel, drawing)
    style.legend(figure, entries)
    return figure


def _draw_panel(axes: Axes, study: Study, panel: Panel, drawing: Drawing) -> None:
    for index, group in enumerate(study.groups):
        _draw_group(axes, index, group, panel.key, drawing)
    mark_interventions(axes, study)
    style.frames_axis(axes, last_frame(study))
    scale_amounts([axes], panel.quantity)


def _draw_group(axes: Axes, index: int, group: RunGroup, key: str, drawing: Drawing) -> None:
    """Faint lines for the runs and a bold one for all, unless they are the same."""
    found, look = series_of(group, key), style.group_line(index)
    if not found:
        return
    windows = [drawing.window(len(series.steps)) for _, series in found]
    if len(found) > 1 or max(windows) > 1:
        for run, series in found:
            faint = look | {"linewidth": 0.6, "alpha": 0.4, "zorder": 1.5, "label": run.title}
            draw_line(axes, series.steps, series.values, **faint)
    both = zip(found, windows, strict=True)
    steps, values = align([replace(s, values=smoothed(s.values, w)) for (_, s), w in both])
    summed = drawing.statistic(values) if len(found) > 1 else values[0]
    draw_line(axes, steps, summed, **look, linewidth=1.8, zorder=3, label=group.label or "all runs")
    if len(found) >= BAND_RUNS:
        low, high = bootstrap_interval(values, drawing.statistic)
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)


def draw_line(axes: Axes, steps: Array, values: Array, **look: Any) -> Line2D:
    """A line with gaps where there is NaN; numbers without neighbours show as dots."""
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    alone = np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:])
    if len(alone):
        look |= {"marker": "o", "markersize": 3.5, "markevery": alone.tolist()}
    (line,) = axes.plot(steps, values, solid_capstyle="round", **look)
    return line


def scale_amounts(together: Sequence[Axes], quantity: Quantity) -> None:
    """The y axis of panels that share it, by what is measured."""
    drawn = [np.asarray(line.get_ydata(), float) for axes in together for line in axes.lines]
    values = np.concatenate(drawn) if drawn else np.zeros(0)
    values = values[np.isfinite(values)]
    least, most = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    log = quantity.scale == "amount" and least > 0 and most / least > 10**DECADES
    for axes in together:
        axes.yaxis.set_major_formatter(Numbers())
        if log:
            axes.set_yscale("log")
            axes.set_ylabel(f"{quantity.unit} (log scale)")
        elif quantity.scale == "share":
            style.share_axis(axes.yaxis)
        if not log and quantity.scale != "plain" and least >= 0:
            top = most or 0.1
            axes.set_ylim(-0.03 * top, 1.06 * top)  # a line at zero is not hidden by the frame


# --- interventions ----------------------------------------------------------------------


def interventions(runs: Iterable[RecordedRun]) -> Iterator[tuple[str, int]]:
    """Name and frame of everything that stepped into these runs, as their lines tell."""
    for run in runs:
        names = {str(node["name"]) for node in listed(run, "interventions")}
        for key, series in run.series.items():
            if (name := key.partition("/")[0]) in names:
                yield from ((name, int(step)) for step in series.steps)


def mark_interventions(axes: Axes, study: Study) -> None:
    """Dashed lines at their frames, or, where they are many, ticks along the bottom.

    They have a group's colour where it is the only one that was stepped into there.
    """
    stepped: dict[int, set[int]] = {}
    for index, group in enumerate(study.groups):
        for _, frame in interventions(group.runs):
            stepped.setdefault(frame, set()).add(index)
    top = 1.0 if len(stepped) <= MARKS else 0.04
    shades = {
        frame: colour(min(groups)) if len(study.groups) > len(groups) == 1 else style.GREY
        for frame, groups in sorted(stepped.items())
    }
    lines = LineCollection(
        [[(frame, 0), (frame, top)] for frame in shades],
        colors=list(shades.values()),
        linestyles=[(0, (3, 3)) if top == 1 else "solid"],
        linewidths=0.9,
        transform=axes.get_xaxis_transform(),
        zorder=1,
    )
    axes.add_collection(lines, autolim=False)


def legend_entries(study: Study, drawn: Sequence[str]) -> list[tuple[Any, str]]:
    """The groups that have any of these metrics, if there are several, and interventions."""
    entries: list[tuple[Any, str]] = []
    if len(study.groups) > 1:
        for index, group in enumerate(study.groups):
            runs = max((len(series_of(group, key)) for key in drawn), default=0)
            if runs:
                count = f" ({runs} runs)" if runs > 1 else ""
                entries.append((style.group_handle(index), group.label + count))
    names = dict.fromkeys(name for name, _ in interventions(study.runs))
    if names:
        upright = Line2D([], [], color=style.GREY, linestyle="", marker="|", markersize=9)
        entries.append((upright, ", ".join(names)))
    return entries


def how_to_read(study: Study, drawn: Sequence[str], drawing: Drawing) -> str:
    """What faint and bold lines are, and the marks; a sentence each, or none."""
    found = [[s for _, s in series_of(g, key)] for g in study.groups for key in drawn]
    windows = {drawing.window(len(s.steps)) for series in found for s in series} - {1}
    most = max(map(len, found), default=0)
    bold = f"their {drawing.named}, as far as all of them came" if most > 1 else ""
    if windows:
        numbers = " to ".join(dict.fromkeys(map(str, (min(windows), max(windows)))))
        bold += f"{', by ' if bold else 'their '}running mean over {numbers} numbers"
    if most >= BAND_RUNS:
        bold += f", with its 95% bootstrap interval from {BAND_RUNS} runs on"
    faint = "single runs" if most > 1 else "the numbers as logged"
    text = f" Faint: {faint}; bold: {bold}." if bold else ""
    return text + marks(study)


def marks(study: Study) -> str:
    """What the vertical lines are, if there are any."""
    names = ", ".join(dict.fromkeys(name for name, _ in interventions(study.runs)))
    return f" Vertical marks: {names}." if names else ""
