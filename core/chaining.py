"""Layers one after the other, where a backend may run several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Joining(Protocol):
    """A layer that can run together with layers that follow it."""

    def together(self, x: Tensor, layers: Sequence[nn.Module]) -> tuple[Tensor, int]:
        """``layers``, of which it is the first, on ``x``: the output of the first n, and n >= 1.

        The same numbers as one after the other, and no layer is taken along whose output
        somebody watches (a forward hook).
        """


def in_turn(x: Tensor, *layers: Any) -> Tensor:
    """``x`` through ``layers`` in turn; one that is :class:`Joining` may take others along."""
    at = 0
    while at < len(layers):
        if hasattr(layers[at], "together"):
            x, taken = layers[at].together(x, layers[at:])
            at += taken
        else:
            x = layers[at](x)
            at += 1
    return x
