"""Built-in optimizers: ``adamw``, ``adam``; with eligibility traces ``obgd``, ``adaptive_obgd``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, OptimizerContext, OptimizerFactory, hookimpl, lazy
from plugins.optimizers.options import (
    AdamOptions,
    AdamWOptions,
    AdaptiveObGDOptions,
    ObGDOptions,
)

_TD_ERRORS = frozenset({"TD errors"})
_TRACES = frozenset({"eligibility traces"})


@hookimpl
def register_optimizers() -> Iterable[Component[Any, OptimizerContext, OptimizerFactory]]:
    """Offer the built-in optimizers."""
    return [
        Component(
            "adamw",
            AdamWOptions,
            lazy("plugins.optimizers.adam:adamw"),
            "Adam with decoupled weight decay, fused",
        ),
        Component("adam", AdamOptions, lazy("plugins.optimizers.adam:adam"), "Adam, fused"),
        Component(
            "obgd",
            ObGDOptions,
            lazy("plugins.optimizers.obgd:obgd"),
            "Eligibility traces, the step bounded by their norm over the whole network",
            needs=_TD_ERRORS,
            provides=_TRACES,
        ),
        Component(
            "adaptive_obgd",
            AdaptiveObGDOptions,
            lazy("plugins.optimizers.adaptive_obgd:adaptive_obgd"),
            "ObGD divided by a running second moment, weight by weight",
            needs=_TD_ERRORS,
            provides=_TRACES,
        ),
    ]
