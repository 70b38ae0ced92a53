"""Changes of an agent in training, at stated frames.

They happen between updates. Removed weights stay removed; replay and running statistics
stay; parameters change in place, and so does what optimizers remember of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, DiagnosticContext, Intervention, hookimpl, lazy
from plugins.interventions.options import (
    PeriodicResetOptions,
    ReDoOptions,
    ShrinkAndPerturbOptions,
)

_INSPECTION = frozenset({"inspection"})


def _reset_needs(options: PeriodicResetOptions) -> frozenset[str]:
    """``inspection``, and ``features`` where ``last`` is given."""
    return _INSPECTION | ({"features"} if options.last is not None else set())


def _redo_needs(options: ReDoOptions) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is that."""
    return _INSPECTION | options.batch.needs


@hookimpl
def register_interventions() -> Iterable[Component[Any, DiagnosticContext, Intervention]]:
    """Offer the built-in interventions."""
    return [
        Component(
            "periodic_reset",
            PeriodicResetOptions,
            lazy("plugins.interventions.periodic_reset:PeriodicReset"),
            "networks, or their last layers, put back to a new initialisation",
            needs=_reset_needs,
        ),
        Component(
            "shrink_and_perturb",
            ShrinkAndPerturbOptions,
            lazy("plugins.interventions.shrink_and_perturb:ShrinkAndPerturb"),
            "weights moved towards zero and towards a new initialisation",
            needs=_INSPECTION,
        ),
        Component(
            "redo",
            ReDoOptions,
            lazy("plugins.interventions.redo:ReDo"),
            "dormant units recycled: new incoming weights, no outgoing ones",
            needs=_redo_needs,
            instead={"replay": "or let it look at the last transitions: batch.source: recent"},
        ),
    ]
