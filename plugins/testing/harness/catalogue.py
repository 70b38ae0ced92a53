"""The components that a suite looks among, and options as a preset would write them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from core.api.component import AnyComponent, Provider
from core.api.errors import UserError
from core.api.hookspecs import KINDS
from core.config.check import INVALID, Checker
from core.config.load import Loaded
from core.plugins import Plugins, load_plugins
from core.plugins.discovery import file

_held: dict[int, tuple[Any, Plugins]] = {}
"""Hosts of plugin objects, which need not be hashable, by ``id``; each is held to keep it."""


def catalogue(plugin: Any = None) -> Plugins:
    """Built-ins and ``plugin`` (:attr:`plugins.testing.ComponentSuite.plugin`), loaded once."""
    if plugin is None:
        return _installed()
    if isinstance(plugin, str | Path):
        return _named(str(plugin))
    if id(plugin) not in _held:
        plugins = fresh_host()
        name = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__name__
        plugins.load_object(plugin, Provider(name, "0", name))
        _held[id(plugin)] = plugin, plugins
    return _held[id(plugin)][1]


@functools.cache
def _installed() -> Plugins:
    return load_plugins()


@functools.cache
def _named(plugin: str) -> Plugins:
    if not plugin.endswith(".py"):
        return catalogue(importlib.import_module(plugin))
    plugins = fresh_host()
    error = plugins.load(file(Path(plugin)))
    if error is not None:
        plugins.raise_broken(error)
    return plugins


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
