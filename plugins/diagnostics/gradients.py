"""Diagnostics of gradients and parameters: options and components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.api import Component, Diagnostic, DiagnosticContext, UserError, require
from plugins.diagnostics.common import INSTEAD, Batched, Scheduled, batch_needs

if TYPE_CHECKING:
    from plugins.diagnostics.gradient_interference import GradientInterference
    from plugins.diagnostics.gradient_norm import GradientNorm
    from plugins.diagnostics.parameter_norm import ParameterNorm


@dataclass(frozen=True)
class GradientNormOptions(Batched):
    """L2 norm of the gradient of what each phase minimises, over living weights.

    As ``PHASE/ROLE`` and ``PHASE/LAYER``, where a layer is a module that owns parameters; all
    phases at the weights as they stand, on the batch as a whole, and without augmentation. (In
    an update, later phases see what earlier ones moved; the run logs those norms as
    ``gradient_norm/PHASE``, averaged over updates.) Of a streaming loss it is the gradient that
    enters the trace, averaged over the batch, before the TD error multiplies it. What is no
    network (the temperature) is left out. Ma et al. 2025, section 4.2, figure 5.
    """


@dataclass(frozen=True)
class ParameterNormOptions(Scheduled):
    """L2 norm of each network's living parameters, biases and layer norms included.

    As ``ROLE`` and ``LAYER``, where a layer is a module that owns parameters. Target networks
    are left out. Ma et al. 2025, section 4.2, figure 7.
    """


@dataclass(frozen=True)
class GradientInterferenceOptions(Batched):
    """Cosine similarities of the gradients that single transitions give, over living weights.

    ``<g_i, g_j> / (|g_i| |g_j|)`` for ``g_i`` the gradient of what a phase minimises on
    transition ``i`` alone: the matrix as ``PHASE``, the mean magnitude of its entries off the
    diagonal as ``PHASE/mean_abs``, the share of them below zero as ``PHASE/negative``. Random
    actions are drawn for each transition by itself. A phase that trains an encoder counts the
    encoder's weights too (the paper does not say). Of a streaming loss it is the gradients that
    enter the trace, before the TD error multiplies them. Ma et al. 2025, section 4.4,
    equation 2, after Lyle et al. 2023; the paper shows the critic's. One measurement takes
    about as long as ten updates.
    """

    samples: int = 64
    """Transitions compared, at least 2 and at most ``batch.size``: the last of the batch.
    (64: the paper's figure.)"""
    epsilon: float = 1e-8
    """Added to each product of two norms, at least 0. (1e-8: the paper's code; the paper's
    equation has none.) A gradient of zeros has similarity 0 to all."""
    memory_mb: int = 1_000
    """Megabytes for the gradients held at once, at least 1, besides what a pass through the
    networks takes; one transition's gradient of the largest layer must fit. Less is slower,
    and the result is the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.batch.size
        within = 2 <= self.samples <= most
        require(within, "samples", f"must be in [2, batch.size = {most}], got {self.samples}")
        require(self.epsilon >= 0, "epsilon", f"must be at least 0, got {self.epsilon}")
        require(self.memory_mb >= 1, "memory_mb", f"must be at least 1, got {self.memory_mb}")


def _check_trained(name: str, context: DiagnosticContext) -> None:
    """Refuse an agent whose networks no phase trains."""
    networks = {id(network) for network in context.networks.values()}
    trained = {id(module) for phase in context.loss.phases for module in phase.modules}
    if not networks & trained:
        raise UserError(
            f"diagnostic '{name}': no phase of this loss trains a network of the agent, so "
            "there is no gradient to look at. Leave the diagnostic out."
        )


def _build_gradient_norm(options: GradientNormOptions, context: DiagnosticContext) -> GradientNorm:
    from plugins.diagnostics.gradient_norm import GradientNorm

    _check_trained("gradient_norm", context)
    return GradientNorm(options)


def _build_parameter_norm(
    options: ParameterNormOptions, context: DiagnosticContext
) -> ParameterNorm:
    from plugins.diagnostics.parameter_norm import ParameterNorm

    return ParameterNorm(options)


def _build_gradient_interference(
    options: GradientInterferenceOptions, context: DiagnosticContext
) -> GradientInterference:
    from plugins.diagnostics.gradient_interference import GradientInterference

    _check_trained("gradient_interference", context)
    return GradientInterference(options)


def components() -> list[Component[Any, DiagnosticContext, Diagnostic]]:
    """The components."""
    return [
        Component(
            "gradient_norm",
            GradientNormOptions,
            _build_gradient_norm,
            "L2 norm of each objective's gradient, by network and by layer",
            batch_needs,
            instead=INSTEAD,
        ),
        Component(
            "parameter_norm",
            ParameterNormOptions,
            _build_parameter_norm,
            "L2 norm of the parameters, by network and by layer",
        ),
        Component(
            "gradient_interference",
            GradientInterferenceOptions,
            _build_gradient_interference,
            "cosine similarities of the gradients of single transitions",
            batch_needs,
            instead=INSTEAD,
        ),
    ]
