"""Conformance suites for plugins: what a plugin's author subclasses in five lines.

One suite per kind of component. With pytest::

    from plugins.testing import MaskSuite

    class TestFanIn(MaskSuite):
        component = "fan_in"
        options = {"inputs": 4}

Without it, in a notebook: ``check_component("masks", "fan_in", {"inputs": 4}, "fan_in.py")``.
Importing this package imports neither torch nor pytest; a suite is imported when it is named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from plugins.testing.by_kind import NAMES
from plugins.testing.by_kind import SUITES as SUITES

if TYPE_CHECKING:
    from plugins.testing.checking import Checked as Checked
    from plugins.testing.checking import check_component as check_component
    from plugins.testing.checking import checks as checks
    from plugins.testing.checking import run_checks as run_checks
    from plugins.testing.checking import suite_for as suite_for
    from plugins.testing.suites.commands import CommandSuite as CommandSuite
    from plugins.testing.suites.component import ComponentSuite as ComponentSuite
    from plugins.testing.suites.data import DataSuite as DataSuite
    from plugins.testing.suites.diagnostics import DiagnosticSuite as DiagnosticSuite
    from plugins.testing.suites.environments import EnvironmentSuite as EnvironmentSuite
    from plugins.testing.suites.execution import ExecutionSuite as ExecutionSuite
    from plugins.testing.suites.figures import FigureSuite as FigureSuite
    from plugins.testing.suites.interventions import InterventionSuite as InterventionSuite
    from plugins.testing.suites.loggers import LoggerSuite as LoggerSuite
    from plugins.testing.suites.losses import LossSuite as LossSuite
    from plugins.testing.suites.masks import MaskSuite as MaskSuite
    from plugins.testing.suites.networks import NetworkSuite as NetworkSuite
    from plugins.testing.suites.optimizers import OptimizerSuite as OptimizerSuite

_MODULES = {
    **{name: f"suites.{kind}" for kind, name in NAMES.items()},
    "ComponentSuite": "suites.component",
    **dict.fromkeys(
        ("Checked", "check_component", "checks", "run_checks", "suite_for"), "checking"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'plugins.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"plugins.testing.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
