"""How pictures look: sizes, colours, axes and legends.

A picture is shown about 1,000 pixels wide, so that a point is 1.4 pixels.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from core.api import COLOURS, colour
from plugins.figures.ticks import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

WIDTH = 10.0
"""Inches, of every picture."""
TEXT = 8.0
"""Points, as are the next two."""
TICKS = 7.5
TITLE = 8.5
TITLE_CHARACTER = 0.08
"""Inches, at most in the mean, as is the next one, of ``TICKS`` size."""
TICK_CHARACTER = 0.07
GREY = "#555555"
GRID = "#dddddd"
HELD = "\N{NO-BREAK SPACE}"
LEGEND_CHARACTERS = 150
"""Of ``TEXT`` size side by side over the whole width."""
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
"""Groups of the same colour, and layers of like colours, differ in these."""


def new_figure(height: float) -> Figure:
    """``height`` in inches. Layout is worked out when it is drawn; labels never overlap."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.04)
    return Figure(figsize=(WIDTH, height), layout=layout, facecolor="white")


def columns_of(panels: int) -> int:
    """Panels side by side."""
    return {1: 1, 2: 2, 4: 2}.get(panels, 3)


def panel_grid(
    panels: int, columns: int, height: float, above: float = 0.0, **sharing: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of ``panels`` axes in rows; inches: ``height`` a row, ``above`` for a legend."""
    rows = -(-panels // columns)
    figure = new_figure(rows * height + above)
    grid = figure.subplots(rows, columns, squeeze=False, **sharing)
    axes = list(grid.flat)
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def group_line(index: int) -> dict[str, Any]:
    """Colour and dashes of the group at ``index``."""
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": colour(index), "linestyle": dashes}


def dress(axes: Axes, title: str, x: str, y: str, room: float = WIDTH) -> None:
    """Title, in ``room`` inches, labels of both axes and a light grid behind the data."""
    axes.set_title(wrap(title, int(room / TITLE_CHARACTER)), fontsize=TITLE, loc="left")
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)
    axes.tick_params(which="both", labelsize=TICKS, color=GREY, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def frames_axis(axes: Axes, last: float) -> None:
    """From 0 to the last frame of the whole study, so that all pictures line up."""
    axes.set_xlim(-0.02 * last, 1.02 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(Numbers())


def share_axis(axis: Any) -> None:
    """Numbers from 0 to 1, written in percent."""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(Numbers(percent=True))


def dress_colorbar(bar: Colorbar, label: str) -> None:
    """Sizes of its text."""
    bar.set_label(label, fontsize=TEXT)
    bar.ax.tick_params(labelsize=TICKS, color=GREY, length=3)
    bar.outline.set_visible(False)


Entries = Sequence[tuple[Any, str]]
"""Handles and labels of a legend."""


def legend_height(entries: Entries) -> float:
    """Inches that :func:`legend` takes."""
    labels, columns = _arranged(entries)
    if not labels:
        return 0.0
    rows = -(-len(labels) // columns)
    lines = [label.count("\n") + 1 for label in labels]
    tallest = max(sum(lines[i : i + rows]) for i in range(0, len(lines), rows))
    return 0.18 * tallest + 0.1


def legend(figure: Figure, entries: Entries) -> None:
    """Above the panels, in as many columns as the longest label allows."""
    labels, columns = _arranged(entries)
    if not labels:
        return
    figure.legend(
        [handle for handle, _ in entries],
        labels,
        loc="outside upper left",
        ncols=columns,
        fontsize=TEXT,
        frameon=False,
        handlelength=2.4,
        borderaxespad=0.2,
    )


def _arranged(entries: Entries) -> tuple[list[str], int]:
    """Labels in lines, and columns."""
    labels = [wrap(label, 66) for _, label in entries]
    labels = [f" {label}" if label.startswith("_") else label for label in labels]  # else unseen
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0) + 8
    return labels, max(1, min(len(labels), LEGEND_CHARACTERS // longest))


def group_handle(index: int) -> Line2D:
    """A group's line, for a legend."""
    return Line2D([], [], linewidth=1.8, **group_line(index))


def wrap(text: str, width: int) -> str:
    """In lines of at most ``width`` characters, broken after commas where that is possible."""
    items = [item.replace(" ", HELD) if len(item) <= width else item for item in text.split(", ")]
    lines = "\n".join(textwrap.wrap(", ".join(items), width)).replace(HELD, " ")
    return lines.replace("$", r"\$")  # matplotlib would set what is between two as a formula
