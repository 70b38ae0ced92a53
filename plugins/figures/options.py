"""Options of the figures; nothing here imports matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.api import require


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
