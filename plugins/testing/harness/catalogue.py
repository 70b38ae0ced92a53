"""The components that a suite looks among, and options as a preset would write them."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from core.api.component import AnyComponent, Provider
from core.api.errors import UserError
from core.api.hookspecs import KINDS
from core.config.check import INVALID, Checker
from core.config.load import Loaded
from core.plugins import Plugins, load_plugins


def catalogue(plugin: Any = None) -> Plugins:
    """Built-ins and ``plugin`` (:attr:`plugins.testing.ComponentSuite.plugin`), loaded once."""
    if isinstance(plugin, str | Path):
        return _named(str(plugin))
    return _installed() if plugin is None else _held(_ById(plugin))


@functools.cache
def _installed() -> Plugins:
    return load_plugins()


@functools.cache
def _named(plugin: str) -> Plugins:
    if not plugin.endswith(".py"):
        return catalogue(importlib.import_module(plugin))
    plugins = fresh_host()
    plugins.load_file(Path(plugin))
    return plugins


@dataclass(frozen=True)
class _ById:
    """A plugin object, which need not be hashable."""

    plugin: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.plugin is self.plugin

    def __hash__(self) -> int:
        return id(self.plugin)


@functools.cache
def _held(held: _ById) -> Plugins:
    plugins = fresh_host()
    plugins.load_object(held.plugin, Provider(_name(held.plugin), "0", _name(held.plugin)))
    return plugins


def _name(plugin: Any) -> str:
    return plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__name__


@functools.cache
def built_ins() -> Plugins:
    """The project's own plugins and no others; to be asked only."""
    return fresh_host()


def fresh_host() -> Plugins:
    """A host with the project's own plugins, to add others to."""
    plugins = Plugins()
    plugins.load_built_ins()
    return plugins


def options_of(component: AnyComponent, kind: str, values: Mapping[str, Any]) -> Any:
    """The component's options as a preset with these ``values`` gives them.

    Raises:
        UserError: every mistake in them.
    """
    check = Checker(Loaded())
    owner = f"{KINDS[kind]} '{component.name}'"
    options = check.dataclass(component.options, values, ("options",), owner)
    if options is INVALID:
        raise UserError("\n".join(problem.partition(": ")[2] for problem in check.in_order()))
    return options


def build(plugins: Plugins, kind: str, name: str, values: Mapping[str, Any], context: Any) -> Any:
    """A component by name, with options as a preset would write them."""
    component = plugins.find(kind, name)
    return component.build(options_of(component, kind, values), context)


def importable(plugin: Any) -> str | None:
    """How another process gets at a suite's ``plugin``: a file, a module's name, or ``""``.

    None where it cannot: an object that is not a module.
    """
    if plugin is None:
        return ""
    if isinstance(plugin, str | Path):
        named = str(plugin)
        return str(Path(named).resolve()) if named.endswith(".py") else named
    if isinstance(plugin, ModuleType):
        file = getattr(plugin, "__file__", None)
        known = sys.modules.get(plugin.__name__) is plugin
        return plugin.__name__ if known and not plugin.__name__.startswith("_") else file
    return None
