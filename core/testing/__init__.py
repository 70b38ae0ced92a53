"""Conformance suites for plugins: what a plugin's author subclasses in five lines.

One suite per kind of component. With pytest::

    from core.testing import MaskSuite

    class TestFanIn(MaskSuite):
        component = "fan_in"
        options = {"inputs": 4}

Without it, in a notebook: ``check_component("masks", "fan_in", {"inputs": 4}, "fan_in.py")``.
Importing this package imports neither torch nor pytest; a suite is imported when it is named.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.testing.checking import Checked as Checked
    from core.testing.checking import check_component as check_component
    from core.testing.checking import checks as checks
    from core.testing.checking import run_checks as run_checks
    from core.testing.checking import suite_for as suite_for
    from core.testing.commands import CommandSuite as CommandSuite
    from core.testing.data import DataSuite as DataSuite
    from core.testing.diagnostics import DiagnosticSuite as DiagnosticSuite
    from core.testing.environments import EnvironmentSuite as EnvironmentSuite
    from core.testing.execution import ExecutionSuite as ExecutionSuite
    from core.testing.figures import FigureSuite as FigureSuite
    from core.testing.interventions import InterventionSuite as InterventionSuite
    from core.testing.loggers import LoggerSuite as LoggerSuite
    from core.testing.losses import LossSuite as LossSuite
    from core.testing.masks import MaskSuite as MaskSuite
    from core.testing.networks import NetworkSuite as NetworkSuite
    from core.testing.optimizers import OptimizerSuite as OptimizerSuite
    from core.testing.suite import ComponentSuite as ComponentSuite

_BY_KIND = {
    "networks": "NetworkSuite",
    "masks": "MaskSuite",
    "losses": "LossSuite",
    "optimizers": "OptimizerSuite",
    "data": "DataSuite",
    "environments": "EnvironmentSuite",
    "execution": "ExecutionSuite",
    "diagnostics": "DiagnosticSuite",
    "interventions": "InterventionSuite",
    "figures": "FigureSuite",
    "commands": "CommandSuite",
    "loggers": "LoggerSuite",
}
"""The suite of each kind, in the module of the kind's name."""

_MODULES = {
    **{name: kind for kind, name in _BY_KIND.items()},
    "ComponentSuite": "suite",
    "Checked": "checking",
    "check_component": "checking",
    "checks": "checking",
    "run_checks": "checking",
    "suite_for": "checking",
}


class _Suites(Mapping[str, "type[ComponentSuite]"]):
    """The suite of each kind of component; imported when it is looked up."""

    def __getitem__(self, kind: str) -> type[ComponentSuite]:
        suite: type[ComponentSuite] = __getattr__(_BY_KIND[kind])
        return suite

    def __contains__(self, kind: object) -> bool:
        return kind in _BY_KIND

    def __iter__(self) -> Iterator[str]:
        return iter(_BY_KIND)

    def __len__(self) -> int:
        return len(_BY_KIND)


SUITES: Mapping[str, type[ComponentSuite]] = _Suites()
"""By kind, as in :data:`core.api.hookspecs.KINDS`."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'core.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"core.testing.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
