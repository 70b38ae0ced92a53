"""The typed front on pluggy: find plugins, load them one by one, say who provides what.

Nothing else in the project touches pluggy's hook caller. A third-party plugin that fails
is a :class:`Broken` row, fatal only when a preset asks for something that is missing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from core import __version__
from core.component import AnyComponent, Component, Provider
from core.errors import UserError, did_you_mean
from core.hookspecs import ALL, KINDS, PROJECT, Offers, Watches

BUILT_INS = tuple(f"plugins.{kind}" for kind in KINDS)
DISTRIBUTION = "openwork"


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used, and why."""

    provider: Provider
    error: str

    def __str__(self) -> str:
        return f"{self.provider} ({self.provider.source}): {self.error}"


class Plugins:
    """The components on offer, by kind and name, and the watchers."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Offers)
        self._manager.add_hookspecs(Watches)
        self._components: dict[str, dict[str, list[AnyComponent]]] = {kind: {} for kind in KINDS}
        self._silenced: set[str] = set()
        self.providers: list[Provider] = []
        self.broken: list[Broken] = []

    # --- loading ------------------------------------------------------------------------

    def load_built_ins(self) -> None:
        """Load the project's own plugins; an error in one of them is ours and is raised."""
        for name in BUILT_INS:
            provider = Provider(DISTRIBUTION, __version__, name)
            self._add(importlib.import_module(name), provider)

    def load_entry_points(self) -> None:
        """Load installed plugins, sorted by distribution and name, each by itself."""
        points = {}
        for point in metadata.entry_points(group=PROJECT):
            dist = point.dist
            if dist is not None:
                points[(dist.name, point.name)] = (
                    point,
                    Provider(dist.name, dist.version, point.value),
                )
        for _, (point, provider) in sorted(points.items(), key=lambda item: item[0]):
            self._try(provider, point.load)

    def load_file(self, path: Path) -> None:
        """Load ``--plugin FILE.py``; its version is the start of the file's SHA-256."""
        if not path.is_file():
            raise UserError(f"--plugin {path}: there is no such file")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        provider = Provider(path.name, digest, str(path))
        if not self._try(provider, lambda: _import_file(path)):
            raise UserError(f"--plugin {self.broken[-1]}")

    def _try(self, provider: Provider, load: Any) -> bool:
        """Load one third-party plugin; on failure note it as broken and leave no trace."""
        try:
            self._add(load(), provider)
        except Exception as error:
            name = self._name(provider)
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self.broken.append(Broken(provider, f"{type(error).__name__}: {error}"))
            return False
        return True

    @staticmethod
    def _name(provider: Provider) -> str:
        return f"{provider.distribution}:{provider.source}"

    def _add(self, plugin: object, provider: Provider) -> None:
        name = self._name(provider)
        self._manager.register(plugin, name=name)
        self._manager.check_pending()
        offers = [(kind, component) for kind in KINDS for component in self._offers(name, kind)]
        for kind, component in offers:
            named = self._components[kind].setdefault(component.name, [])
            named.append(replace(component, provider=provider))
        self.providers.append(provider)

    def _offers(self, plugin: str, kind: str) -> list[AnyComponent]:
        caller = getattr(self._manager.hook, f"register_{kind}")
        offers: list[AnyComponent] = []
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == plugin:
                offers.extend(implementation.function())
        for offer in offers:
            _check_offer(offer, kind)
        return offers

    # --- asking -------------------------------------------------------------------------

    def components(self, kind: str) -> list[AnyComponent]:
        """Every component of a kind, sorted by name."""
        by_name = self._components[kind]
        return [component for name in sorted(by_name) for component in by_name[name]]

    def find(self, kind: str, name: str) -> AnyComponent:
        """The component that a preset names, as ``name`` or ``distribution:name``.

        Raises:
            LookupError: unknown or ambiguous; the message lists the choices.
        """
        distribution, _, short = name.rpartition(":")
        found = self._components[kind].get(short, [])
        if distribution:
            found = [c for c in found if c.provider and c.provider.distribution == distribution]
        if len(found) == 1:
            return found[0]
        if found:
            who = " and by ".join(str(component.provider) for component in found)
            first = found[0].provider
            assert first is not None
            raise LookupError(
                f"{KINDS[kind]} '{name}' is offered by {who}; "
                f"write '{first.distribution}:{name}' to choose"
            )
        raise LookupError(self._unknown(kind, name))

    def _unknown(self, kind: str, name: str) -> str:
        known = self.components(kind)
        hint = did_you_mean(name, [component.name for component in known])
        lines = [f"no {KINDS[kind]} is called '{name}'.{hint}"]
        width = max((len(component.name) for component in known), default=0)
        lines += [f"    {c.name:<{width}}  {c.summary} ({c.provider})" for c in known]
        lines += [f"    broken plugin: {broken}" for broken in self.broken]
        return "\n".join(lines)

    # --- telling ------------------------------------------------------------------------

    def tell(self, watch: str, **arguments: Any) -> None:
        """Call a watch hook. A watcher that raises is reported once and told no more."""
        for implementation in getattr(self._manager.hook, watch).get_hookimpls():
            name = implementation.plugin_name
            if name in self._silenced:
                continue
            try:
                implementation.function(*(arguments[key] for key in implementation.argnames))
            except Exception as error:
                self._silenced.add(name)
                warnings.warn(
                    f"plugin {name} failed in {watch} and is told no more: {error!r}", stacklevel=2
                )


def load_plugins(files: Iterable[Path] = ()) -> Plugins:
    """Built-ins, then installed plugins, then ``--plugin`` files."""
    plugins = Plugins()
    plugins.load_built_ins()
    plugins.load_entry_points()
    for file in files:
        plugins.load_file(file)
    return plugins


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"openwork_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look postponed annotations up in the module of that name
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _check_offer(offer: object, kind: str) -> None:
    if not isinstance(offer, Component):
        raise TypeError(f"register_{kind} must return components, got {offer!r}")
    if kind == "diagnostics" and offer.name == ALL:
        raise TypeError(f"no diagnostic may be called '{ALL}': in a preset it stands for all")
    frozen = is_dataclass(offer.options) and offer.options.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not frozen:
        raise TypeError(f"the options of '{offer.name}' must be a frozen dataclass")
