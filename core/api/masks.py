"""Masks: which weights live, before training and in it. Hook: ``register_masks``.

A :class:`MaskScheme` draws the masks that a run begins with. One that is a :class:`DynamicMasks`
too (gradual pruning, dynamic sparse training) is asked again, at frames of its own choice.
Examples are ``plugins/masks/random_masks.py`` and ``plugins/masks/rewiring.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api.diagnostics import BatchOptions


@dataclass(frozen=True)
class MaskContext:
    """What a schedule of masks may follow from; masks themselves follow from the shapes."""

    frames: int = 0
    """Environment frames that the run is to train for."""


class MaskScheme(Protocol):
    """Which weights of one network live."""

    @property
    def target(self) -> str:
        """The network it is for: a role of the agent, such as ``critic``, or ``all``."""

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]:
        """Boolean masks (True: the weight lives) by parameter name.

        As a mapping, or as pairs one by one: then no two masks of a large network need be in
        memory at a time. ``parameters`` are all of one network's, in the module's order.
        Parameters left out of the answer stay dense. Only ``generator`` may be drawn from.
        """


class MaskView(Protocol):
    """One network at a moment at which its masks may change."""

    @property
    def role(self) -> str:
        """``encoder``, ``actor`` or ``critic``."""

    @property
    def frame(self) -> int:
        """Environment frames collected so far."""

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """The masks in force by parameter name, boolean, on the CPU; the rest is dense.

        Each look-up unpacks the mask anew: look once, and do not write into it.
        """

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """The dense shape of every parameter, in the module's order."""

    @property
    def generator(self) -> torch.Generator:
        """The only one to draw from: its seed follows from the mask seed, role and frame."""

    def weight(self, name: str) -> Tensor:
        """A parameter in its dense shape, detached; zero where it is removed. Do not write."""

    def gradients(self) -> Mapping[str, Tensor]:
        """What each weight's gradient would be if it lived, by name, in the dense shape.

        Of all parameters with two or more dimensions, for the objectives of the phases that
        train this network, on the transitions that the scheme asks for
        (:attr:`DynamicMasks.batch`); of a phase with eligibility traces, the mean of each
        transition's gradient times its TD error, without the trace. As large as the dense
        network while it is held.
        """


@runtime_checkable
class DynamicMasks(Protocol):
    """A :class:`core.api.MaskScheme` whose masks change in training.

    They change just before an update, in the networks that it targets and their copies.
    Weights that go on living keep their values and what optimizers remember of them; what
    begins to live starts at zero in both.
    """

    @property
    def batch(self) -> BatchOptions | None:
        """The transitions that its gradients are of; None: it asks for no gradients.

        A component with such needs the capability ``inspection``, and :attr:`BatchOptions.needs`.
        """

    def due(self, last: int, frame: int) -> bool:
        """Whether one of its frames lies in ``(last, frame]``; asked before every update.

        ``last`` is the frame at which it last changed the network's masks, -1 if it never did.
        """

    def change(self, view: MaskView) -> Mapping[str, Tensor]:
        """The masks from now on, by parameter name; what is left out stays as it is."""


@runtime_checkable
class Stateful(Protocol):
    """A mask scheme that remembers something between its changes."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain Python; saved in every checkpoint."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; the next :meth:`DynamicMasks.change` is as if nothing had happened."""
