"""Pictures of recorded runs, for the report: matplotlib, without its global state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from core.api import Component, Figure, FigureContext, hookimpl, require


@dataclass(frozen=True)
class Smoothed:
    """Options of curves of logged numbers."""

    smooth: int | None = None
    """Numbers in the centred running mean that is drawn over the numbers as logged; odd, 1:
    none; null: about a hundredth of a run's, none below 200. Evaluations are never smoothed."""

    def __post_init__(self) -> None:
        odd = self.smooth is None or (self.smooth >= 1 and self.smooth % 2 == 1)
        require(odd, "smooth", f"must be odd and at least 1, got {self.smooth}")


@dataclass(frozen=True)
class ReturnsOptions(Smoothed):
    """Options of ``returns``."""

    statistic: Literal["mean", "iqm"] = "mean"
    """What stands for the runs of a group: ``mean``, or ``iqm``, the interquartile mean (Agarwal
    et al. 2021). From five runs on, either has its 95% bootstrap interval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.statistic in ("mean", "iqm")
        require(known, "statistic", f"must be mean or iqm, got '{self.statistic}'")


@dataclass(frozen=True)
class LossesOptions(Smoothed):
    """Options of ``losses``."""


@dataclass(frozen=True)
class DiagnosticsOptions(Smoothed):
    """Options of ``diagnostics``."""


@dataclass(frozen=True)
class InterferenceOptions:
    """``interference`` has no options."""


@dataclass(frozen=True)
class DensitiesOptions:
    """``densities`` has no options."""


@dataclass(frozen=True)
class TimeOptions(Smoothed):
    """Options of ``time``."""


def _build_returns(options: ReturnsOptions, context: FigureContext) -> Figure:
    from plugins.figures.returns import Returns

    return Returns(options)


def _build_losses(options: LossesOptions, context: FigureContext) -> Figure:
    from plugins.figures.losses import Losses

    return Losses(options)


def _build_diagnostics(options: DiagnosticsOptions, context: FigureContext) -> Figure:
    from plugins.figures.diagnostics import Diagnostics

    return Diagnostics(options)


def _build_interference(options: InterferenceOptions, context: FigureContext) -> Figure:
    from plugins.figures.interference import Interference

    return Interference()


def _build_densities(options: DensitiesOptions, context: FigureContext) -> Figure:
    from plugins.figures.densities import Densities

    return Densities()


def _build_time(options: TimeOptions, context: FigureContext) -> Figure:
    from plugins.figures.time import Time

    return Time(options)


@hookimpl
def register_figures() -> Iterable[Component[Any, FigureContext, Figure]]:
    """Offer the built-in figures."""
    return [
        Component("returns", ReturnsOptions, _build_returns, "returns over frames"),
        Component("losses", LossesOptions, _build_losses, "losses and what updates report"),
        Component(
            "diagnostics",
            DiagnosticsOptions,
            _build_diagnostics,
            "every diagnostic over frames, of networks and of layers",
        ),
        Component(
            "interference",
            InterferenceOptions,
            _build_interference,
            "gradient matrices as heatmaps from start to end",
        ),
        Component("densities", DensitiesOptions, _build_densities, "density of each layer"),
        Component("time", TimeOptions, _build_time, "speed, and the cost of looking"),
    ]
