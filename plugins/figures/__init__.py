"""Pictures of recorded runs, for the report: matplotlib, without its global state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, Figure, FigureContext, hookimpl, lazy
from plugins.figures.options import (
    DensitiesOptions,
    DiagnosticsOptions,
    InterferenceOptions,
    LossesOptions,
    ReturnsOptions,
    TimeOptions,
)


def _offer(
    name: str, options: type[Any], drawn_by: str, summary: str
) -> Component[Any, FigureContext, Figure]:
    return Component(name, options, lazy(f"plugins.figures.{name}:{drawn_by}"), summary)


@hookimpl
def register_figures() -> Iterable[Component[Any, FigureContext, Figure]]:
    """Offer the built-in figures."""
    layers = "every diagnostic over frames, of networks and of layers"
    heatmaps = "gradient matrices as heatmaps from start to end"
    return [
        _offer("returns", ReturnsOptions, "Returns", "returns over frames"),
        _offer("losses", LossesOptions, "Losses", "losses and what updates report"),
        _offer("diagnostics", DiagnosticsOptions, "Diagnostics", layers),
        _offer("interference", InterferenceOptions, "Interference", heatmaps),
        _offer("densities", DensitiesOptions, "Densities", "density of each layer"),
        _offer("time", TimeOptions, "Time", "speed, and the cost of looking"),
    ]
