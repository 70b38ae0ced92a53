"""Pruning schemes: which weights of a network live, before training or as it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.api import Component, MaskContext, hookimpl, lazy
from plugins.masks.options import (
    BlockOptions,
    GMPOptions,
    MagnitudeOptions,
    NMOptions,
    NoMaskOptions,
    RandomMaskOptions,
    RigLOptions,
    SETOptions,
    SmallWorldOptions,
    SnipOptions,
)

if TYPE_CHECKING:
    from core.api import MaskScheme


def _of_gradients(options: SnipOptions | RigLOptions) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is that."""
    return frozenset({"inspection"}) | options.batch.needs


_INSTEAD = {"replay": "or let it look at the last transitions: batch.source: recent"}


@hookimpl
def register_masks() -> list[Component[Any, MaskContext, MaskScheme]]:
    """The built-in pruning schemes."""
    return [
        Component(
            "erdos_renyi",
            RandomMaskOptions,
            lazy("plugins.masks.random_masks:erdos_renyi_masks"),
            "random; wide layers are sparser than narrow ones (Erdos-Renyi densities)",
        ),
        Component(
            "uniform",
            RandomMaskOptions,
            lazy("plugins.masks.random_masks:uniform_masks"),
            "random; every kernel has one density",
        ),
        Component(
            "none", NoMaskOptions, lazy("plugins.masks.static:no_masks"), "every weight lives"
        ),
        Component(
            "magnitude",
            MagnitudeOptions,
            lazy("plugins.masks.magnitude:magnitude_masks"),
            "the largest weights live; at initialisation, or once in training",
        ),
        Component(
            "snip",
            SnipOptions,
            lazy("plugins.masks.snip:snip_masks"),
            "what the loss would miss most lives; once, before the first update",
            needs=_of_gradients,
            instead=_INSTEAD,
        ),
        Component(
            "nm",
            NMOptions,
            lazy("plugins.masks.nm:nm_masks"),
            "of every m inputs of each unit n live (2:4, ...)",
        ),
        Component(
            "block",
            BlockOptions,
            lazy("plugins.masks.block:block_masks"),
            "whole blocks of weights live (16 x 16)",
        ),
        Component(
            "small_world",
            SmallWorldOptions,
            lazy("plugins.masks.small_world:small_world_masks"),
            "each unit has its nearest inputs, and a few far ones",
        ),
        Component(
            "set",
            SETOptions,
            lazy("plugins.masks.rewiring:set_masks"),
            "random; in training the smallest weights move to random places",
        ),
        Component(
            "rigl",
            RigLOptions,
            lazy("plugins.masks.rewiring:rigl_masks"),
            "random; in training the smallest weights move to where gradients are largest",
            needs=_of_gradients,
            instead=_INSTEAD,
        ),
        Component(
            "gmp",
            GMPOptions,
            lazy("plugins.masks.gmp:GradualMagnitude"),
            "dense at first; in training the smallest weights are removed step by step",
        ),
    ]
