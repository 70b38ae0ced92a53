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
    """Nothing to choose."""


def _build_masked(options: MaskedOptions, context: ExecutionContext) -> Masked:
    from plugins.execution.masked import Masked

    return Masked()


@hookimpl
def register_execution() -> Iterable[Component[Any, ExecutionContext, Any]]:
    """Offer the built-in execution backends."""
    return [
        Component(
            "masked", MaskedOptions, _build_masked, "dense weights, held at zero where removed"
        ),
    ]
