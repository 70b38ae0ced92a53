"""``densities``: the share of each layer's weights that lives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from core.api import Picture, Study
from plugins.figures import bars, style
from plugins.figures.keys import in_order, short_names
from plugins.figures.records import Layers, densities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from core.api import FigureContext
    from plugins.figures.options import DensitiesOptions

SECTION = "Densities"
CAPTION = (
    "Share of the weights of each layer that was kept; the rest was removed before training and "
    "stays zero. Layers stand in the order of the network, biases and layer norms left out."
)


@dataclass(frozen=True)
class Pruned:
    """Densities that one or more groups have."""

    index: int
    """Of the first of these groups."""
    labels: tuple[str, ...]
    roles: Mapping[str, Layers]


@final
class Densities:
    """Densities by layer as bars; implements ``Figure``."""

    def __init__(self, options: DensitiesOptions, context: FigureContext) -> None:
        """It has no options."""

    def draw(self, study: Study) -> Iterator[Picture]:
        found = merged(study)
        roles = list(dict.fromkeys(role for pruned in found for role in pruned.roles))
        if all(e["density"] == 1 for p in found for r in p.roles.values() for e in r.values()):
            return
        several = len(study.groups) > 1
        entries = [(bars.patch(p.index), ", ".join(p.labels)) for p in found if several]
        heights = [bars.height(*_bars(found, role)) for role in roles]
        above = 0.75 * len(roles) + style.legend_height(entries)
        figure = style.new_figure(sum(heights) + above)
        grid = figure.subplots(len(roles), 1, squeeze=False, height_ratios=heights)
        for (axes,), role in zip(grid, roles, strict=True):
            _draw_role(axes, found, role)
        style.legend(figure, entries)
        figure.align_ylabels()
        yield Picture("densities", SECTION, "Density by layer", CAPTION, figure)


def merged(study: Study) -> list[Pruned]:
    """One entry for all groups of the same densities: those of their first run that tells."""
    found: dict[str, Pruned] = {}
    for index, group in enumerate(study.groups):
        roles = next((roles for run in group.runs if (roles := densities(run))), None)
        if roles is not None:
            same = json.dumps(roles, sort_keys=True)
            before = found.get(same, Pruned(index, (), roles))
            found[same] = Pruned(before.index, (*before.labels, group.label), roles)
    return list(found.values())


def _bars(found: list[Pruned], role: str) -> tuple[list[str], bars.Groups]:
    """Parameters in the order of the network, and each entry's densities."""
    names = in_order(pruned.roles.get(role, {}) for pruned in found)
    densities = [{n: e["density"] for n, e in p.roles.get(role, {}).items()} for p in found]
    return names, [(p.index, values) for p, values in zip(found, densities, strict=True)]


def _draw_role(axes: Axes, found: list[Pruned], role: str) -> None:
    style.dress(axes, role, "density: share of weights kept", "layer")
    names, groups = _bars(found, role)
    bars.draw_bars(axes, names, groups, _written)
    axes.set_yticklabels(_labels(found, role, names))
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])


def _written(density: float) -> str:
    return "1" if density == 1 else f"{density:.2f}" if density >= 0.1 else f"{density:.2g}"


def _labels(found: list[Pruned], role: str, names: list[str]) -> list[str]:
    """Short names, with the shape where all have the same."""
    labels = []
    paths = [name.removesuffix(".weight") for name in names]
    for short, name in zip(short_names(paths), names, strict=True):
        entries = [p.roles[role][name] for p in found if name in p.roles.get(role, {})]
        shapes = {tuple(entry["shape"]) for entry in entries}
        shape = " × ".join(map(str, *shapes)) if len(shapes) == 1 else ""
        labels.append(f"{short}  ({shape})" if shape else short)
    return labels
