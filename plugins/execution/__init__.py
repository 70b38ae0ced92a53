"""Built-in execution backends, ``masked``, ``sparse`` and ``auto``, and ``bench-execution``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Command, CommandContext, Component, ExecutionContext, hookimpl, lazy
from plugins.execution.options import (
    AutoOptions,
    BenchExecutionOptions,
    MaskedOptions,
    SparseOptions,
)


@hookimpl
def register_execution() -> Iterable[Component[Any, ExecutionContext, Any]]:
    """Offer the built-in execution backends."""
    return [
        Component(
            "masked",
            MaskedOptions,
            lazy("plugins.execution.masked:build"),
            "dense weights, held at zero where removed",
        ),
        Component(
            "sparse",
            SparseOptions,
            lazy("plugins.execution.sparse:build"),
            "kept weights alone, multiplied as they are",
        ),
        Component(
            "auto",
            AutoOptions,
            lazy("plugins.execution.auto.backend:build"),
            "sparse where it is faster, masked elsewhere",
        ),
    ]


@hookimpl
def register_commands() -> Iterable[Component[Any, CommandContext, Command]]:
    """Offer ``bench-execution``."""
    return [
        Component(
            "bench-execution",
            BenchExecutionOptions,
            lazy("plugins.execution.bench.command:BenchExecution"),
            "what sparse execution brings on this machine",
        )
    ]
