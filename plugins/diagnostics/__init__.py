"""What is measured while an agent trains.

Each metric is a pure function of tensors, in the module of its name, for any PyTorch network;
the component beside it says when it is measured, and on which transitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, Diagnostic, DiagnosticContext, hookimpl
from plugins.diagnostics import gradients, representations, values


@hookimpl
def register_diagnostics() -> Iterable[Component[Any, DiagnosticContext, Diagnostic]]:
    """Offer the built-in diagnostics."""
    return [*representations.components(), *gradients.components(), *values.components()]
