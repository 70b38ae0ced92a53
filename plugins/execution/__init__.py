"""Built-in execution backends: ``masked``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.api import Component, ExecutionContext, hookimpl

if TYPE_CHECKING:
    from plugins.execution.masked import Masked


@dataclass(frozen=True)
class MaskedOptions:
    """How the networks run."""

    native: bool = True
    """Run without autograd where that applies, which is one environment on the CPU with plain
    perceptrons (``stream_mlp``, ``mlp``): the same numbers within rounding, many times faster.
    By compiled kernels, or where these were not built by NumPy, with a warning. ``false``: the
    phases of the update run on PyTorch, as they do everywhere else; the others are tested
    against this."""


def _build_masked(options: MaskedOptions, context: ExecutionContext) -> Masked:
    from plugins.execution.masked import Masked

    return Masked(native=options.native)


@hookimpl
def register_execution() -> Iterable[Component[Any, ExecutionContext, Any]]:
    """Offer the built-in execution backends."""
    return [
        Component(
            "masked", MaskedOptions, _build_masked, "dense weights, held at zero where removed"
        ),
    ]
