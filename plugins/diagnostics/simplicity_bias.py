"""Simplicity bias: how low the frequencies are that a network's output is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from core.api import UserError, blank_transition

if TYPE_CHECKING:
    from torch import nn

    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import SimplicityBiasOptions

TOGETHER = 4096
"""Points of the grid that pass through a network at once."""
ROLES = ("actor", "critic")


def complexity(surface: Tensor) -> Tensor:
    """Mean frequency of ``surface`` ``[n, n]``, weighted by magnitude: a scalar in (0, 1].

    ``sum_k |F_k| k / (K sum_k |F_k|)`` over the discrete Fourier coefficients ``F`` of both
    frequencies from 0 to ``n / 2`` cycles, but for the mean; ``k`` is the length of the pair of
    frequencies, rounded, and ``K`` the largest ``k``. NaN for a constant surface. (SimBa, Lee et
    al. 2025, appendix A, of which no code is public; rounding, quadrant and ``K`` as in
    ``spectral_analysis.py`` of Teney et al. 2024, whose measure it is.)
    """
    centred = surface.double() - surface.double().mean()
    magnitude = torch.fft.rfft2(centred).abs()
    quadrant = magnitude[: magnitude.shape[0] // 2 + 1]
    down, across = (
        torch.arange(size, dtype=quadrant.dtype, device=quadrant.device) for size in quadrant.shape
    )
    frequency = torch.hypot(down[:, None], across[None, :]).round()
    counted = quadrant * (frequency > 0)
    mean: Tensor = (counted * frequency).sum() / counted.sum()
    return mean / frequency.max()


@torch.no_grad()
def simplicity_bias(
    function: Callable[[Tensor], Tensor],
    inputs: int,
    *,
    points: int = 300,
    extent: float = 100.0,
    device: torch.device | None = None,
) -> Tensor:
    """One over :func:`complexity`, averaged over the outputs of ``function``: a scalar above 1.

    ``function`` is ``[B, inputs] -> [B, outputs]``, and seen on a grid of ``points`` times
    ``points`` over ``[-extent, extent]^2`` of its first two inputs, the others at zero. Constant
    outputs are left out; NaN if there are no others.
    """
    axis = torch.linspace(-extent, extent, points, device=device)
    given = []
    for indices in torch.split(torch.arange(points * points, device=device), TOGETHER):
        at = torch.zeros(len(indices), inputs, device=device)
        at[:, 0], at[:, 1] = axis[indices // points], axis[indices % points]
        given.append(function(at))
    surfaces = torch.cat(given).T.reshape(-1, points, points)
    return torch.stack([1 / complexity(surface) for surface in surfaces]).nanmean()


@final
class SimplicityBias:
    """See :class:`plugins.diagnostics.options.SimplicityBiasOptions`."""

    batch = None

    def __init__(self, options: SimplicityBiasOptions, context: DiagnosticContext) -> None:
        shape = context.spec.observation
        if context.spec.pixels or len(shape) != 1 or shape[0] < 2:
            raise UserError(
                "diagnostic 'simplicity_bias' needs flat observations of at least two numbers; "
                f"the environment gives {shape}. Set environment.pixels: false, or leave it out."
            )
        self.every = options.every
        self._options = options

    def measure(self, view: AgentView) -> Measurements:
        """``actor`` and ``critic``, of those that the agent has."""
        inputs = view.loss.analyse(blank_transition(view.spec).to(view.device)).inputs
        return {role: self._of(view, role, inputs[role]) for role in ROLES if role in inputs}

    def _of(self, view: AgentView, role: str, inputs: tuple[Tensor, ...]) -> Tensor:
        o, sizes = self._options, [tensor.shape[-1] for tensor in inputs]
        scores = []
        for network in self._networks(view, role):
            function = _function(network, sizes)
            scores.append(
                simplicity_bias(
                    function, sum(sizes), points=o.points, extent=o.extent, device=view.device
                )
            )
        return torch.stack(scores).mean()

    def _networks(self, view: AgentView, role: str) -> Any:
        """The network as it is, or new ones, one at a time."""
        if not self._options.inits:
            return (view.networks[role],)
        return (view.fresh(role) for _ in range(self._options.inits))


def _function(network: nn.Module, sizes: list[int]) -> Callable[[Tensor], Tensor]:
    """A network of several arguments and outputs as one of one, ``[B, inputs] -> [B, outputs]``."""

    def function(at: Tensor) -> Tensor:
        given: Any = network(*torch.split(at, sizes, -1))
        if isinstance(given, Tensor):  # a critic's [M, B, outputs]
            return given.transpose(0, 1).flatten(1)
        return torch.cat(given, -1)

    return function
