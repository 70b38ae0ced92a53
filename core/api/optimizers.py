"""Optimizers: who moves the weights of a phase. Hook: ``register_optimizers``.

An example is ``plugins/optimizers/obgd.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from core.api.losses import Metrics


class OptimizerFactory(Protocol):
    """Makes one optimizer per phase."""

    def __call__(
        self, parameters: Sequence[nn.Parameter], overrides: Mapping[str, Any], phase: str
    ) -> torch.optim.Optimizer:
        """An optimizer for the phase of this name; ``overrides`` are what the phase fixes."""


class TraceOptimizer(Protocol):
    """What phases with ``step`` need of their optimizer, besides ``torch.optim.Optimizer``."""

    report: Metrics
    """Scalars of the last step, logged as ``NAME/PHASE``."""

    def step(self, *, gradients: Sequence[Tensor], **arguments: Any) -> None:
        """One step; ``gradients`` ``[N, *shape]`` per parameter, ``arguments`` the phase's."""


@runtime_checkable
class Refreshable(Protocol):
    """An optimizer that keeps views or addresses of its state."""

    def refresh(self) -> None:
        """State tensors or parameters' data were replaced, perhaps by others of other sizes."""


@dataclass(frozen=True)
class OptimizerContext:
    """Where the parameters live."""

    device: torch.device
