"""That nothing was forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugins.testing import SUITES
from plugins.testing.harness.catalogue import built_ins


def all_have_a_class(kind: str, module: Mapping[str, Any]) -> None:
    """Every built-in component of ``kind`` is run through its suite by ``module``."""
    checked = {
        value.component
        for value in module.values()
        if isinstance(value, type) and issubclass(value, SUITES[kind]) and value.component
    }
    missing = {component.name for component in built_ins().components(kind)} - checked
    assert not missing, f"write a class for {', '.join(sorted(missing))}"
