"""Static random masks, some of whose removed weights come back once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.api import Component, MaskContext, hookimpl, require

if TYPE_CHECKING:
    from core.api import MaskScheme


@dataclass(frozen=True)
class Options:
    """After the idea of TAR (Jin et al. 2026, arXiv 2602.04166): a reserve is revived once.

    There the layers get shares of it by their topology, and random weights of each come back.
    Here every kernel gets the same share, and its units with the fewest inputs get it.
    """

    sparsity: float = 0.9
    """Share of each kernel's weights that is removed in the end, in [0, 1)."""
    reserve: float = 0.05
    """Share of each kernel's weights that is removed at first and comes back; above 0, and less
    than what lives in the end."""
    at: int = 20_000
    """Environment frame at which they come back, above 0."""
    target: str = "all"
    """The network to prune: a role such as actor or critic, or all."""

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, "sparsity", f"must be in [0, 1), got {self.sparsity}")
        most = 1 - self.sparsity
        require(0 < self.reserve < most, "reserve", f"must be in (0, {most:g}), got {self.reserve}")
        require(self.at > 0, "at", f"must be above 0, got {self.at}")
        require(self.target != "", "target", "must name a network, or be all")


def build(options: Options, context: MaskContext) -> MaskScheme:
    """The scheme; torch is imported from here on, so that listings stay fast."""
    from openwork_revive.scheme import Scheme

    return Scheme(options)


@hookimpl
def register_masks() -> list[Component[Options, MaskContext, MaskScheme]]:
    """Offer the scheme."""
    summary = "random; once, units with few inputs get some of their weights back"
    return [Component("revive", Options, build, summary)]
