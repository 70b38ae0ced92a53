"""Diagnostics: what is measured of an agent in training. Hook: ``register_diagnostics``.

A diagnostic changes nothing. It sees the agent through an :class:`AgentView`. An example is
``plugins/diagnostics/weight_rank.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from core.api.errors import require

if TYPE_CHECKING:
    import torch
    from numpy import ndarray
    from torch import Tensor, nn

    from core.api.environments import Environments, EnvironmentSpec
    from core.api.losses import AnalysisBatch, Loss


Measurements = Mapping[str, "float | Tensor | ndarray[Any, Any]"]
"""What was measured, by name: numbers (0-d tensors too), and matrices ``[k, k]``."""


@dataclass(frozen=True)
class BatchOptions:
    """The transitions that a diagnostic looks at."""

    source: Literal["auto", "replay", "recent"] = "auto"
    """``replay``: drawn uniformly from the replay buffer, anew at every measurement;
    ``recent``: the last ones collected; ``auto``: ``replay`` where the data source can be drawn
    from, else ``recent``."""
    size: int = 256
    """How many, at least 1. (256: the paper's code.)"""

    def __post_init__(self) -> None:
        require(self.size >= 1, "size", f"must be at least 1, got {self.size}")

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that the source needs of the rest of the preset."""
        return frozenset({"replay"}) if self.source == "replay" else frozenset()


class AgentView(Protocol):
    """The agent at one moment of a run."""

    @property
    def frame(self) -> int:
        """Environment frames collected so far."""

    @property
    def spec(self) -> EnvironmentSpec: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def loss(self) -> Any:
        """The loss: :class:`core.api.Loss`, and :class:`Inspectable` where that is needed."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The agent's networks by role: ``encoder``, ``actor``, ``critic``."""

    @property
    def masks(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Boolean masks (True: the weight lives) by role and parameter name."""

    @property
    def environments(self) -> Environments:
        """For episodes of one's own; these disturb nothing."""

    def batch(self, options: BatchOptions) -> AnalysisBatch:
        """Transitions as the networks see them; the same for all who ask at one moment."""

    def has(self, options: BatchOptions | None) -> bool:
        """Whether these transitions are there: ``recent`` ones gather first."""

    def fresh(self, role: str) -> nn.Module:
        """A new network of this role, initialised anew, removed weights at zero."""


class Diagnostic(Protocol):
    """Measures an agent. Draws from torch's global generator at will: it is put back after."""

    @property
    def every(self) -> int | None:
        """Frames between measurements, besides the first and the last; None: these two only.

        The first is made just before the first update.
        """

    @property
    def batch(self) -> BatchOptions | None:
        """The transitions that it asks for; None: none."""

    def measure(self, view: AgentView) -> Measurements:
        """Numbers and matrices; logged as ``DIAGNOSTIC/NAME``."""


@runtime_checkable
class Bracketing(Protocol):
    """A diagnostic that compares the agent after an update with the agent before it."""

    def before_update(self, view: AgentView) -> None:
        """Told before an update; ``measure`` follows right after it, with the same view. At
        the end of a run, where no update follows, neither is asked."""


@dataclass(frozen=True)
class DiagnosticContext:
    """What diagnostics and interventions are built from: the agent as it was wired."""

    spec: EnvironmentSpec
    loss: Loss
    networks: Mapping[str, nn.Module]
    """By role, on the learner's device, not trained yet."""
    gamma: float
    """Discount per agent step."""
