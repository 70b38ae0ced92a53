"""Diagnostics of representations: options and components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from core.api import Component, Diagnostic, DiagnosticContext, require
from plugins.diagnostics.common import INSTEAD, Batched, Scheduled, batch_needs


@dataclass(frozen=True)
class OfNetworks(Batched):
    """A diagnostic that looks at what the agent's networks give for transitions."""

    networks: tuple[str, ...] | None = None
    """Which of ``encoder``, ``actor`` and ``critic``; null: all that the agent has and that
    have the parts in question. A critic's members count one by one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_networks(self.networks)


@dataclass(frozen=True)
class EffectiveRankOptions(OfNetworks):
    """Effective rank of the feature that the heads read, for one batch (Ma et al. 2025, 4.1).

    The feature is what a network's trunk gives (in SimBa, the output of its last layer norm):
    a matrix of one row per transition, of which the singular values are taken as it is, not
    centred. It cannot exceed the batch's size: the paper's figure 4 is for 256.
    """

    form: Literal["srank", "threshold", "entropy"] = "srank"
    """``srank``: the fewest singular values that sum to ``1 - delta`` of them all (Kumar et al.
    2021; the code of Ma et al. 2025, ``get_srank``, and so their figure 4). ``threshold``: how
    many exceed a threshold, as the text of Ma et al. has it, which states neither its value
    nor its scale. ``entropy``: the exponential of the entropy of the singular values, divided
    by their sum (Roy & Vetterli 2007, to whom the name belongs)."""
    delta: float = 0.01
    """For ``srank``: the share of the sum that may be left out, in (0, 1)."""
    threshold: float = 0.01
    """For ``threshold``: relative to the largest singular value, in (1e-6, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delta(self.delta)
        require(
            1e-6 < self.threshold < 1, "threshold", f"must be in (1e-6, 1), got {self.threshold}"
        )


@dataclass(frozen=True)
class DormantRatioOptions(OfNetworks):
    """Share of dormant neurons, pooled over a network's layers, heads excluded.

    A neuron is dormant where its mean absolute activation over the batch is at most tau times
    the mean over its layer's neurons (Sokar et al. 2023; Ma et al. 2025, equation 1).
    In a convolution a neuron is a channel, and the mean is over positions too. All neurons of
    a layer that gives zeros are dormant. It is a share of 1; Ma et al. log percent.
    """

    tau: tuple[float, ...] = (0.1, 0.2)
    """Thresholds, each logged by itself, in [0, 1). (0.1 and 0.2: the code of Ma et al. 2025,
    whose text states none.)"""
    activations: tuple[Literal["pre", "post"], ...] = ("pre",)
    """Where neurons are looked at, one place or both. ``pre``: what linear and convolution
    layers give, before any activation function, as the code of Ma et al. 2025 has it
    (``get_dormant_ratio``: input layer and both layers of every block) and so, it seems, their
    figure 5; a ReLU that is never on counts as alive if its input is far below zero. ``post``:
    what activation functions give, as in ReDo (Sokar et al. 2023), logged apart; in SimBa only
    the inner layer of a block has one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.tau) >= 1, "tau", "must name at least one threshold")
        fits = all(0 <= tau < 1 for tau in self.tau)
        require(fits, "tau", f"must be in [0, 1) each, got {list(self.tau)}")
        _check_distinct("tau", self.tau)
        _check_distinct("activations", self.activations)
        require(len(self.activations) >= 1, "activations", "must name at least one place")


@dataclass(frozen=True)
class ActiveUnitsOptions(OfNetworks):
    """Fraction of active units, FAU (Ma et al. 2024; Ma et al. 2025, appendix C.1, equation 3).

    The share of a network's rectified units that are above zero for a batch, pooled over its
    layers, heads excluded. For ReLU these are the units that pass a gradient; for leaky ReLU,
    ELU, GELU, SiLU and their kin, those on the side that passes more of it. Functions without
    an off side, such as tanh (DrQ-v2's projections), are left out, as in the authors' code.
    """

    count: Literal["samples", "units"] = "samples"
    """``samples``: every unit on every transition counts (the definition is for one input, and
    the code of Ma et al. 2024 averages it over the batch; about 0.5 in a new SimBa). ``units``: a
    unit counts as active where its mean over the batch is above zero, which for ReLU means on
    at least one transition. A convolution's positions count in the first form, its channels in
    the second."""


@dataclass(frozen=True)
class FeatureNormOptions(OfNetworks):
    """Mean L2 norm of the feature that the heads read, over a batch.

    Logged by the code of Ma et al. 2025 (``get_feature_norm``). Behind a layer norm, as in
    SimBa, it can move only with that norm's scale and shift.
    """


@dataclass(frozen=True)
class WeightRankOptions(Scheduled):
    """Rank of every weight matrix, heads excluded, and its mean over each network.

    A convolution's kernel is taken as a matrix ``[out, in x height x width]``; removed weights
    are zeros. It needs no transitions. It takes all singular values, in time that grows with
    the cube of the width: about 4 s of one core for a matrix of 10240 x 2560.
    """

    networks: tuple[str, ...] | None = None
    """Which of ``encoder``, ``actor`` and ``critic``; null: all that the agent has."""
    form: Literal["stable", "srank"] = "stable"
    """``stable``: the squared Frobenius norm over the squared largest singular value, which
    is at most the rank and moves little with small singular values (Rudelson & Vershynin
    2007). ``srank``: as ``effective_rank`` has it."""
    delta: float = 0.01
    """For ``srank``: the share of the sum that may be left out, in (0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_networks(self.networks)
        _check_delta(self.delta)


def _check_networks(networks: tuple[str, ...] | None) -> None:
    if networks is not None:
        require(len(networks) >= 1, "networks", "must name at least one, or be null")
        _check_distinct("networks", networks)


def _check_distinct(field: str, values: tuple[Any, ...]) -> None:
    distinct = len(set(values)) == len(values)
    require(distinct, field, f"must differ from each other, got {list(values)}")


def _check_delta(delta: float) -> None:
    require(0 < delta < 1, "delta", f"must be in (0, 1), got {delta}")


_FEATURE = "{} feature that heads read (a submodule 'trunk')"
_LAYER = "{} linear or convolution layer besides its heads"
_UNIT = "{} activation function as a module (calls of torch.relu and the like go unseen)"
_RECTIFIER = "{} ReLU or a function like it as a module (calls of torch.relu go unseen)"


def _build_effective_rank(options: EffectiveRankOptions, context: DiagnosticContext) -> Diagnostic:
    from plugins.diagnostics import activations
    from plugins.diagnostics.effective_rank import EffectiveRank

    roles = activations.suiting(options.networks, context.networks, activations.trunks, _FEATURE)
    return EffectiveRank(options, roles)


def _build_feature_norm(options: FeatureNormOptions, context: DiagnosticContext) -> Diagnostic:
    from plugins.diagnostics import activations
    from plugins.diagnostics.feature_norm import FeatureNorm

    roles = activations.suiting(options.networks, context.networks, activations.trunks, _FEATURE)
    return FeatureNorm(options, roles)


def _build_dormant_ratio(options: DormantRatioOptions, context: DiagnosticContext) -> Diagnostic:
    from plugins.diagnostics import activations
    from plugins.diagnostics.dormant_ratio import SELECT, DormantRatio

    what = {"pre": _LAYER, "post": _UNIT}
    roles: dict[str, tuple[str, ...]] = {
        form: activations.suiting(options.networks, context.networks, SELECT[form], what[form])
        for form in options.activations
    }
    return DormantRatio(options, roles)


def _build_active_units(options: ActiveUnitsOptions, context: DiagnosticContext) -> Diagnostic:
    from plugins.diagnostics import activations
    from plugins.diagnostics.active_units import ActiveUnits

    select = activations.rectifiers
    roles = activations.suiting(options.networks, context.networks, select, _RECTIFIER)
    return ActiveUnits(options, roles)


def _build_weight_rank(options: WeightRankOptions, context: DiagnosticContext) -> Diagnostic:
    from plugins.diagnostics import activations
    from plugins.diagnostics.weight_rank import WeightRank

    roles = activations.suiting(options.networks, context.networks, activations.layers, _LAYER)
    return WeightRank(options, roles)


def _feature_needs(options: Batched) -> frozenset[str]:
    """``features``, ``inspection``, and ``replay`` where ``batch.source`` is ``replay``."""
    return batch_needs(options) | {"features"}


def _offer(
    name: str, options: type[Batched], build: Any, summary: str, *, features: bool = False
) -> Component[Any, DiagnosticContext, Diagnostic]:
    """A diagnostic that looks at a batch."""
    needs = _feature_needs if features else batch_needs
    return Component(name, options, build, summary, needs, instead=INSTEAD)


def components() -> list[Component[Any, DiagnosticContext, Diagnostic]]:
    """The components."""
    rank = "how many directions the features of a batch span"
    dormant = "share of neurons that hardly respond to anything"
    active = "share of rectified units that are above zero"
    norm = "mean L2 norm of the features of a batch"
    weights = "stable or effective rank of every weight matrix"
    return [
        _offer("effective_rank", EffectiveRankOptions, _build_effective_rank, rank, features=True),
        _offer("dormant_ratio", DormantRatioOptions, _build_dormant_ratio, dormant),
        _offer("active_units", ActiveUnitsOptions, _build_active_units, active),
        _offer("feature_norm", FeatureNormOptions, _build_feature_norm, norm, features=True),
        Component("weight_rank", WeightRankOptions, _build_weight_rank, weights),
    ]
