"""``diagnostics``: every diagnostic over frames, of networks and, folded, of their layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from core.api import Picture, RecordedRun, RunGroup, Study
from plugins.figures import style
from plugins.figures.aligning import align, mean
from plugins.figures.catalogue import Quantity, amount, caption_of, quantity_of
from plugins.figures.curves import (
    Drawing,
    Panel,
    draw_line,
    draw_panels,
    how_to_read,
    last_frame,
    mark_interventions,
    marks,
    present,
    scale_amounts,
    series_of,
)
from plugins.figures.keys import (
    Key,
    by_network,
    diagnostics_of,
    parse,
    picture_name,
    short_names,
)
from plugins.figures.records import densities, listed

if TYPE_CHECKING:
    from core.api import FigureContext
    from plugins.figures.options import DiagnosticsOptions

SECTION = "Diagnostics"
MANY = 8
"""Layers from which on neighbours differ in dashes too, not only in colour."""


@final
class Diagnostics:
    """Diagnostics over frames; implements ``Figure``."""

    def __init__(self, options: DiagnosticsOptions, context: FigureContext) -> None:
        self._drawing = Drawing(smooth=options.smooth)

    def draw(self, study: Study) -> Iterator[Picture]:
        names = diagnostics_of(study)
        found = [parse(key) for key in present(study, lambda key: key.partition("/")[0] in names)]
        for diagnostic in dict.fromkeys(key.diagnostic for key in found):
            own = [key for key in found if key.diagnostic == diagnostic]
            networks = [key for key in own if key.layer is None]
            if networks:
                yield _of_networks(study, diagnostic, networks, self._drawing)
            layers = [key for key in own if key.layer is not None]
            for (around, network), together in by_network(layers).items():
                yield _of_layers(study, together, around, network)


def _of_networks(study: Study, diagnostic: str, found: list[Key], drawing: Drawing) -> Picture:
    panels = [Panel(key.text, key.title, _quantity(study, key)) for key in found]
    drawn = [panel.key for panel in panels]
    caption = caption_of(diagnostic) + how_to_read(study, drawn, drawing)
    title = diagnostic.replace("_", " ").capitalize()
    return Picture(
        picture_name(diagnostic), SECTION, title, caption, draw_panels(study, panels, drawing)
    )


def _quantity(study: Study, key: Key) -> Quantity:
    """With the greatest rank that there can be, where the runs tell it."""
    if key.diagnostic == "effective_rank":
        bounds = {_rank_bound(run, key) for run in study.runs if key.text in run.series}
        if bounds and None not in bounds:
            return amount("rank, at most " + " or ".join(map(str, sorted(b for b in bounds if b))))
    return quantity_of(key.text)


def _rank_bound(run: RecordedRun, key: Key) -> int | None:
    """The lesser of batch size and width of the feature; None where the run tells neither."""
    nodes = [node for node in listed(run, "diagnostics") if node["name"] == key.diagnostic]
    batch: Any = nodes[0].get("batch") if nodes else None
    size = batch.get("size") if isinstance(batch, Mapping) else None
    role = key.around[0].partition(".")[0] if key.around else ""
    parameters = densities(run).get(role, {})
    widths = [entry["shape"][-1] for name, entry in parameters.items() if _is_head(name)]
    known = [int(number) for number in (size, *widths[:1]) if number is not None]
    return min(known, default=None)


def _is_head(parameter: str) -> bool:
    return re.search(r"(^|\.)heads?\.", parameter) is not None


# --- layers -----------------------------------------------------------------------------


def _of_layers(study: Study, found: list[Key], around: tuple[str, ...], network: str) -> Picture:
    """One panel per group, a line per layer: the mean over the group's runs."""
    first = found[0]
    groups = [g for g in study.groups if any(series_of(g, key.text) for key in found)]
    columns = style.columns_of(len(groups))
    rows = -(-len(groups) // columns)
    height = max(2.5, (0.16 * len(found) + 0.6) / rows)
    figure, grid = style.panel_grid(len(groups), columns, height, sharey=True)
    quantity = quantity_of(first.text)
    names = _layer_legend(figure, found)
    beside = style.TICK_CHARACTER * max(map(len, names)) + 0.5
    room = (style.WIDTH - beside) / columns - 0.6
    for axes, group in zip(grid, groups, strict=True):
        style.dress(axes, group.label or network, "environment frames", quantity.unit, room)
        axes.tick_params(labelleft=True)
        _draw_layers(axes, group, found)
        mark_interventions(axes, Study((group,)))
        style.frames_axis(axes, last_frame(study))
    scale_amounts(grid, quantity)
    words = first.diagnostic.replace("_", " ")
    where = f", {', '.join(around)} loss" if around else ""
    caption = (
        "The same layer by layer, from the input (dark) to the output (light): the mean over the "
        f"runs of a group, as far as all of them came. {caption_of(first.diagnostic)}"
    )
    return Picture(
        picture_name(first.diagnostic, "layers", *around, network),
        SECTION,
        f"{words.capitalize()} by layer: {network}{where}",
        caption + marks(study),
        figure,
        folded=True,
    )


def _draw_layers(axes: Any, group: RunGroup, found: list[Key]) -> None:
    for key, look in zip(found, _looks(len(found)), strict=True):
        series = [one for _, one in series_of(group, key.text)]
        if series:
            steps, values = align(series)
            draw_line(axes, steps, mean(values), **look, linewidth=1.3, label=key.layer)


def _looks(layers: int) -> list[dict[str, Any]]:
    """Colours from dark to light."""
    shades = mpl.colormaps["viridis"]
    dashes = style.DASHES[:3] if layers >= MANY else style.DASHES[:1]
    return [
        {"color": shades(0.9 * i / max(layers - 1, 1)), "linestyle": dashes[i % len(dashes)]}
        for i in range(layers)
    ]


def _layer_legend(figure: Figure, found: list[Key]) -> list[str]:
    """Beside the panels; the names in it."""
    handles = [Line2D([], [], linewidth=1.3, **look) for look in _looks(len(found))]
    names = short_names([(key.layer or "").partition(".")[2] for key in found])
    figure.legend(
        handles,
        names,
        loc="outside right upper",
        fontsize=style.TICKS,
        frameon=False,
        handlelength=2.4,
        labelspacing=0.3,
    )
    return names
