"""Interventions: changes of an agent at stated frames. Hook: ``register_interventions``.

An example is ``plugins/interventions/shrink_and_perturb.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from core.api.diagnostics import AgentView

if TYPE_CHECKING:
    import torch

    from core.api.diagnostics import BatchOptions
    from core.api.losses import Phase


class ChangeableAgent(AgentView, Protocol):
    """A view whose agent may be changed."""

    @property
    def phases(self) -> Sequence[tuple[Phase, torch.optim.Optimizer | None]]:
        """The loss's phases, each with its optimizer."""

    def reapply(self) -> None:
        """Put removed weights back to exact zero, and tell whoever caches weights that they
        changed. Core does it after every intervention too."""


class Intervention(Protocol):
    """Changes the agent at stated frames, between updates."""

    @property
    def batch(self) -> BatchOptions | None:
        """The transitions that it asks for; None: none."""

    def due(self, last: int, frame: int) -> bool:
        """Whether one of its frames lies in ``(last, frame]``."""

    def intervene(self, agent: ChangeableAgent) -> Mapping[str, float]:
        """Change the agent; numbers to log, as ``INTERVENTION/NAME``."""
