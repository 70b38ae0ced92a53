"""Built-in environments: the DeepMind Control Suite and Gymnasium."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api import Component, EnvironmentContext, Environments, hookimpl, lazy
from plugins.environments.options import DMControlOptions, GymnasiumOptions

_PROVIDES = frozenset({"time input"})


@hookimpl
def register_environments() -> Iterable[Component[Any, EnvironmentContext, Environments]]:
    """Offer the built-in environments."""
    return [
        Component(
            "dm_control",
            DMControlOptions,
            lazy("plugins.environments.dm_control:DMControlEnvironments"),
            "DeepMind Control Suite tasks, from states or from pixels",
            provides=_PROVIDES,
        ),
        Component(
            "gymnasium",
            GymnasiumOptions,
            lazy("plugins.environments.gymnasium:GymnasiumEnvironments"),
            "registered Gymnasium environments with flat observations",
            provides=_PROVIDES,
        ),
    ]
