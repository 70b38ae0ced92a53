"""What runs tell of themselves, as far as it is whole: their files may be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api import RecordedRun

Layers = Mapping[str, Mapping[str, Any]]
"""``density`` and ``shape`` by parameter."""


def listed(run: RecordedRun, kind: str) -> list[Mapping[str, Any]]:
    """The nodes under ``diagnostics`` or ``interventions`` of a run's preset."""
    nodes = run.config.get(kind)
    nodes = nodes if isinstance(nodes, list) else []
    return [node for node in nodes if isinstance(node, Mapping) and "name" in node]


def densities(run: RecordedRun) -> dict[str, Layers]:
    """By role, then parameter."""
    roles = run.record.get("densities")
    found = {}
    for role, parameters in roles.items() if isinstance(roles, Mapping) else ():
        if isinstance(parameters, Mapping):
            found[role] = {name: p for name, p in parameters.items() if _is_whole(p)}
    return {role: layers for role, layers in found.items() if layers}


def _is_whole(parameter: Any) -> bool:
    if not isinstance(parameter, Mapping):
        return False
    density, shape = parameter.get("density"), parameter.get("shape")
    sizes = isinstance(shape, list) and len(shape) > 0 and all(isinstance(n, int) for n in shape)
    return isinstance(density, (int, float)) and 0 <= density <= 1 and sizes
