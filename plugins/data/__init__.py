"""Where batches come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, DataContext, DataSource, hookimpl, lazy
from plugins.data.options import ReplayOptions, StreamOptions


@hookimpl
def register_data() -> Iterable[Component[Any, DataContext, DataSource]]:
    """Offer the built-in data sources."""
    return [
        Component(
            "replay",
            ReplayOptions,
            lazy("plugins.data.replay.source:build"),
            "uniform replay: single frames stored once, stacks and n-step returns at sampling",
            provides=frozenset({"replay", "n-step returns", "batches"}),
        ),
        Component(
            "stream",
            StreamOptions,
            lazy("plugins.data.stream:Stream"),
            "streaming: each transition is learned from once, in order, and forgotten",
            provides=frozenset({"transitions in order"}),
        ),
    ]
