"""What is measured while an agent trains.

Each metric is a pure function of tensors, in the module of its name, for any PyTorch network;
the component beside it says when it is measured, and on which transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from core.api import Component, Diagnostic, DiagnosticContext, hookimpl, lazy
from plugins.diagnostics import options as of
from plugins.diagnostics.options import Batched

Offer = Component[Any, DiagnosticContext, Diagnostic]

_INSTEAD = {
    "replay": "or let it look at the last transitions: batch.source: recent",
    "inspection": "or leave the diagnostic out",
    "features": "or leave the diagnostic out",
}
"""What a user can do about needs that are not met."""
_INSPECTION = frozenset({"inspection"})


def _batch(options: Batched) -> frozenset[str]:
    """``inspection``, and ``replay`` where ``batch.source`` is ``replay``."""
    return options.batch.needs | _INSPECTION


def _features(options: Batched) -> frozenset[str]:
    """``features``, ``inspection``, and ``replay`` where ``batch.source`` is ``replay``."""
    return _batch(options) | {"features"}


def _offer(
    name: str,
    options: type[Any],
    measured_by: str,
    summary: str,
    needs: frozenset[str] | Callable[[Any], frozenset[str]] = frozenset(),
) -> Offer:
    """The class ``measured_by`` of the module ``name``."""
    instead = _INSTEAD if callable(needs) else {need: _INSTEAD[need] for need in needs}
    build = lazy(f"plugins.diagnostics.{name}:{measured_by}")
    return Component(name, options, build, summary, needs, instead=instead)


@hookimpl
def register_diagnostics() -> Iterable[Offer]:
    """Offer the built-in diagnostics."""
    return [*_representations(), *_gradients(), *_values()]


def _representations() -> list[Offer]:
    rank = "how many directions the features of a batch span"
    dormant = "share of neurons that hardly respond to anything"
    active = "share of rectified units that are above zero"
    norm = "mean L2 norm of the features of a batch"
    weights = "stable or effective rank of every weight matrix"
    return [
        _offer("effective_rank", of.EffectiveRankOptions, "EffectiveRank", rank, _features),
        _offer("dormant_ratio", of.DormantRatioOptions, "DormantRatio", dormant, _batch),
        _offer("active_units", of.ActiveUnitsOptions, "ActiveUnits", active, _batch),
        _offer("feature_norm", of.FeatureNormOptions, "FeatureNorm", norm, _features),
        _offer("weight_rank", of.WeightRankOptions, "WeightRank", weights),
    ]


def _gradients() -> list[Offer]:
    gradient = "L2 norm of each objective's gradient, by network and by layer"
    parameter = "L2 norm of the parameters, by network and by layer"
    pairs, interference = (
        "cosine similarities of the gradients of single transitions",
        of.GradientInterferenceOptions,
    )
    return [
        _offer("gradient_norm", of.GradientNormOptions, "GradientNorm", gradient, _batch),
        _offer("parameter_norm", of.ParameterNormOptions, "ParameterNorm", parameter),
        _offer("gradient_interference", interference, "GradientInterference", pairs, _batch),
    ]


def _values() -> list[Offer]:
    churn = "change of values and policy on held transitions by one update"
    bias = "predicted values against the discounted returns that follow"
    simple = "SimBa's simplicity score: one over the mean frequency of a network's output"
    simplicity = of.SimplicityBiasOptions
    return [
        _offer("churn", of.ChurnOptions, "Churn", churn, _batch),
        _offer("q_bias", of.QBiasOptions, "QBias", bias, _INSPECTION),
        _offer("simplicity_bias", simplicity, "SimplicityBias", simple, _INSPECTION),
    ]
