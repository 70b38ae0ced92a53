"""Pruning schemes: which weights of a network live, before training or as it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core.api import Component, MaskContext, hookimpl, require

if TYPE_CHECKING:
    from core.api import MaskScheme

Counted = Literal["all", "kernels"]


@dataclass(frozen=True)
class PruningOptions:
    """How much is to be removed of which weights: what most schemes have in common."""

    sparsity: float
    """Share of parameters removed, in [0, 1); see ``counted`` for which are meant."""
    target: str = "all"
    """The network to prune, each on its own: a role such as actor, critic or encoder, or all."""
    counted: Counted = "all"
    """Which parameters ``sparsity`` is the share of. Only tensors of two or more dimensions
    are ever pruned. ``all``: every parameter of the network, so biases and layer norms use
    up some of what may live (Ma et al. 2025, ``agents/sparse.py``); ``kernels``: those
    tensors alone."""
    dense: tuple[str, ...] = ()
    """Patterns of parameters or modules to leave dense, as in fnmatch, such as ``heads.*``;
    they are left out of the count: ``sparsity`` is that of the rest."""

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, "sparsity", f"must be in [0, 1), got {self.sparsity}")
        require(self.target != "", "target", "must name a network, or be all")


@dataclass(frozen=True)
class RandomMaskOptions(PruningOptions):
    """Random masks of a fixed sparsity (Ma et al. 2025, section 2.2)."""

    draw: Literal["exact", "bernoulli"] = "exact"
    """``exact``: each kernel keeps exactly the nearest number of weights to its density, and
    at least one. ``bernoulli``: each weight lives or not on its own (Ma et al. 2025)."""


@dataclass(frozen=True)
class NoMaskOptions:
    """No pruning."""

    target: str = "all"
    """The network to leave dense, or all."""

    def __post_init__(self) -> None:
        require(self.target != "", "target", "must name a network, or be all")


def _build_erdos_renyi(options: RandomMaskOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.densities import erdos_renyi
    from plugins.masks.random_masks import RandomMasks

    return RandomMasks("erdos_renyi", erdos_renyi, options)


def _build_uniform(options: RandomMaskOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.densities import uniform
    from plugins.masks.random_masks import RandomMasks

    return RandomMasks("uniform", uniform, options)


def _build_none(options: NoMaskOptions, context: MaskContext) -> MaskScheme:
    from plugins.masks.none import NoMasks

    return NoMasks(options)


@hookimpl
def register_masks() -> list[Component[Any, MaskContext, MaskScheme]]:
    """The built-in pruning schemes."""
    from plugins.masks import dynamic, static

    return [
        Component(
            "erdos_renyi",
            RandomMaskOptions,
            _build_erdos_renyi,
            "random; wide layers are sparser than narrow ones (Erdos-Renyi densities)",
        ),
        Component(
            "uniform", RandomMaskOptions, _build_uniform, "random; every kernel has one density"
        ),
        Component("none", NoMaskOptions, _build_none, "every weight lives"),
        *static.components(),
        *dynamic.components(),
    ]
