"""Horizontal bars by name, groups side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.patches import Patch

from core.api import COLOURS, colour
from plugins.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


HATCHES = ("", "////", "....")
GAP = 0.7
"""Between names, in bars."""
BAR = 0.125
"""Inches."""

Groups = Sequence[tuple[int, Mapping[str, float]]]
"""Index of each group, and its values by name."""


def height(names: Sequence[str], groups: Groups) -> float:
    """Inches that the bars need."""
    return BAR * (len(names) * GAP + sum(len(values) for _, values in groups))


def look(index: int) -> dict[str, Any]:
    """Of the group at ``index``; hatched where its colour comes round again."""
    hatch = HATCHES[index // len(COLOURS) % len(HATCHES)]
    return {"facecolor": colour(index), "edgecolor": "white", "linewidth": 0, "hatch": hatch}


def patch(index: int) -> Patch:
    """Of a group, for a legend."""
    return Patch(**look(index))


def draw_bars(
    axes: Axes, names: Sequence[str], groups: Groups, written: Callable[[float], str]
) -> None:
    """One bar per name and group that has it, the first at the top, its end labelled."""
    places: dict[tuple[str, int], float] = {}
    centres, down = [], GAP / 2
    for name in names:
        having = [index for index, values in groups if name in values]
        places |= {(name, index): down + i + 0.5 for i, index in enumerate(having)}
        centres.append(down + len(having) / 2)
        down += len(having) + GAP
    for index, values in groups:
        there = [name for name in names if name in values]
        widths = [values[name] for name in there]
        bars = axes.barh([places[name, index] for name in there], widths, 0.86, **look(index))
        axes.bar_label(bars, [written(w) for w in widths], padding=3, fontsize=style.TICKS)
    axes.set_ylim(down - GAP / 2, 0)
    axes.set_yticks(centres)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
