"""Execution backends: how kept weights are stored and multiplied. Hook: ``register_execution``.

An example, and the oracle for all others, is ``plugins/execution/masked.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class ExecutionContext:
    """Where the networks live, and how they are used."""

    device: torch.device
    batch_size: int = 256
    """Rows of a batch in an update; 1 where transitions are learned from one at a time."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What an earlier process of the same run reported (:meth:`core.api.Execution.report`):
    a backend that chooses must choose the same again. Empty in a new run."""


class Execution(Protocol):
    """How kept weights are stored and multiplied."""

    def attach(self, module: nn.Module, masks: Mapping[str, Tensor], role: str = "") -> nn.Module:
        """The module with the masks in force. Called once, on the learner's device.

        ``role`` (``critic``) is what :meth:`report` calls the module.
        """

    def constrain_gradients(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]
    ) -> None:
        """Zero in place the gradients of removed weights, between backward and step.

        One gradient per parameter, of its shape or with leading dimensions ``[N, *shape]``.
        """

    def reapply(self) -> None:
        """Put every removed weight back to zero, after weights were loaded or reset."""

    def remask(
        self,
        networks: Sequence[nn.Module],
        masks: Mapping[str, Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """Put other masks in force; weights and optimizer state that stay alive are kept.

        ``networks`` are one that was attached and its copies (targets), ``masks`` those of
        all its masked parameters, by the names of :meth:`attach`. What begins to live starts
        at zero, in every optimizer state too; what ceases to live loses its state.
        """

    def online(self, module: nn.Module) -> OnlineNetwork | None:
        """The module on one observation at a time, or None: only autograd can run it."""

    def report(self) -> Mapping[str, Any]:
        """What was chosen, and why, in plain Python; for ``run.json``.

        ``backend`` is a name; ``layers``, if there are such, has by ``ROLE.PARAMETER`` at least
        the ``choice`` (``compact``) for each, and where there was a choice its ``reason``;
        ``index_bytes`` is the memory taken besides parameters, by indices and masks.
        """


class OnlineNetwork(Protocol):
    """A network on one observation at a time, without autograd: acting and streaming.

    For contiguous float32 tensors on the CPU. ``P`` counts the parameters, which are flat
    in the order of ``module.parameters()``.
    """

    inputs: int
    outputs: int
    """Entries of all heads together."""

    def forward(self, inputs: Tensor) -> Tensor:
        """``[inputs] -> [outputs]``, heads side by side; overwritten by the next call."""

    def forward_both(self, inputs: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`forward` of both, reading the weights once; it is as if of ``inputs`` alone."""

    def accumulate(self, gradient: Tensor, trace: Tensor, decay: float) -> float:
        """``trace <- decay trace + J^T gradient``; the L1 norm of the new trace.

        ``J`` is the Jacobian of the last ``forward``, zero at removed weights;
        ``gradient`` ``[outputs]``, ``trace`` ``[P]``.
        """

    def move(self, direction: Tensor, scale: float) -> None:
        """``parameters += scale direction``, ``direction`` ``[P]``."""
