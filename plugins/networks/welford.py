"""Observations normalised by the mean and variance of all seen so far (Elsayed et al. 2024).

The statistics are Welford's (1962), in float64. On a CPU they are reached through NumPy views
of the buffers: for the few numbers of one observation, a torch operation costs several times
a NumPy one. The two equations below serve both kinds of array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = TypeVar("Array", Tensor, NDArray[np.float64])

EPSILON = 1e-8
"""Added to the variance before the root (Elsayed et al. 2024)."""


@final
class WelfordNormaliser(nn.Module):
    """``(x - mean) / sqrt(variance + 1e-8)``, per dimension, with nothing clipped.

    The variance is the sample's (divisor n - 1), and 1 until there are two observations, so
    that the first observation, folded in before it is normalised, becomes 0. With
    ``time_input`` the last entry of an observation passes unchanged and no statistics are
    kept of it. Stacks of frames are normalised per pixel of the stack, where the original
    normalises a frame before it is stacked: a pixel then has statistics for each of its
    places in the stack, which differ by the first and last frames of episodes alone.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, shape: tuple[int, ...], *, time_input: bool = False) -> None:
        super().__init__()
        kept = (*shape[:-1], shape[-1] - 1) if time_input else shape
        for name, size in (("count", ()), ("mean", kept), ("squares", kept)):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        self._kept = kept[-1]
        self._time_input = time_input

    def update(self, observation: Tensor) -> None:
        """Fold in a batch ``[N, *shape]``, uint8 or float, as if its rows came one by one."""
        count, mean, squares = self._statistics()
        count += observation.shape[0]
        if self._on_host(observation):
            rows = observation.numpy()[..., : self._kept].astype(np.float64)
            fold(count.item(), mean.numpy(), squares.numpy(), rows)
        else:
            fold(count, mean, squares, self._narrow(observation.detach()).double())

    def forward(self, observation: Tensor) -> Tensor:
        """``[..., *shape] -> [..., *shape]``, float32, by the statistics as they are."""
        count, mean, squares = self._statistics()
        if self._on_host(observation):
            values = observation.numpy()
            out = values.astype(np.float32)
            kept = values[..., : self._kept]
            out[..., : self._kept] = standardise(count.item(), mean.numpy(), squares.numpy(), kept)
            return torch.from_numpy(out)
        normal = standardise(count, mean, squares, self._narrow(observation)).float()
        if not self._time_input:
            return normal
        return torch.cat((normal, observation.narrow(-1, self._kept, 1).float()), -1)

    def _narrow(self, observation: Tensor) -> Tensor:
        return observation.narrow(-1, 0, self._kept)

    def _statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        # not by attribute: a module searches its parameters first, a fifth of an update
        buffers: dict[str, Any] = self._buffers
        return buffers["count"], buffers["mean"], buffers["squares"]

    def _on_host(self, observation: Tensor) -> bool:
        """Whether NumPy can read it: a plain tensor on the CPU that nothing is tracing."""
        return (
            type(observation) is Tensor
            and observation.is_cpu
            and not observation.requires_grad
            and not torch.compiler.is_compiling()
        )


def fold(count: Array | float, mean: Array, squares: Array, rows: Array) -> None:
    """Fold ``rows`` ``[N, *shape]`` into ``mean`` and ``squares``, in place.

    Welford's step for one row; for more, the merge of Chan, Golub and LeVeque (1979), which
    equals that many steps. ``squares`` sums squared distances from the mean; ``count``
    includes the rows.
    """
    added = len(rows)
    centre = rows.squeeze(0) if added == 1 else rows.mean(0)
    apart = centre - mean
    mean += apart * (added / count)
    apart *= centre - mean
    if added > 1:
        apart *= added
        squares += ((rows - centre) ** 2).sum(0)
    squares += apart


def standardise(count: Array | float, mean: Array, squares: Array, values: Array) -> Array:
    """``(values - mean) / sqrt(variance + 1e-8)`` in float64."""
    # Below two observations squares is 0 and the variance is to be 1: written without a
    # branch, which would wait for a GPU.
    few = count < 2
    root = squares / (count - 1 + 2 * few)
    root += EPSILON + few
    root **= 0.5
    normal = values - mean
    normal /= root
    return normal
