"""The typed front on pluggy: load plugins one by one, say who provides what.

Nothing else in the project touches pluggy's hook caller. An installed plugin that fails is
a row of :attr:`Plugins.broken`, fatal only when a preset asks for something that is missing.
Where plugins are found is in :mod:`core.plugins.discovery`, what is refused in
:mod:`core.plugins.validation`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from core import __version__
from core.api.component import AnyComponent, Provider
from core.api.errors import UserError, accuse, did_you_mean
from core.api.hookspecs import KINDS, PROJECT, Offers, Watches
from core.plugins import discovery
from core.plugins.attribution import blamed
from core.plugins.discovery import Found, normal
from core.plugins.validation import Broken, PluginError, check_hooks, components_of

BUILT_INS = tuple(f"plugins.{kind}" for kind in KINDS)
DISTRIBUTION = "openwork"


class Plugins:
    """The components on offer, by kind and name, and the watchers."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Offers)
        self._manager.add_hookspecs(Watches)
        self._components: dict[str, list[AnyComponent]] = {kind: [] for kind in KINDS}
        self._silenced: set[str] = set()
        self.modules: dict[Provider, str] = {}
        """The module that each plugin was loaded from."""
        self.broken: list[Broken] = []
        self.left_out: list[Provider] = []
        """What ``--without`` disabled."""
        self.without: tuple[str, ...] = ()
        """Its names, as they were given."""

    @property
    def providers(self) -> list[Provider]:
        """The plugins that are loaded, in that order."""
        return list(self.modules)

    # --- loading ------------------------------------------------------------------------

    def load_built_ins(self) -> None:
        """Load the project's own plugins; an error in one of them is ours and is raised."""
        for name in BUILT_INS:
            self.load_object(
                importlib.import_module(name), Provider(DISTRIBUTION, __version__, name)
            )

    def load(self, found: Found) -> BaseException | None:
        """Load a third-party plugin; on failure note it as broken and give the error back."""
        provider = found.provider
        try:
            plugin = found.load()
            provider = discovery.identified(provider)
            self.load_object(plugin, provider)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            accuse(error, provider)
            self.broken.append(Broken.of(provider, error))
            return error
        return None

    def raise_broken(self, error: BaseException) -> None:
        """The failure of the last plugin, a file that the user asked for."""
        if isinstance(error, Exception) and not isinstance(error, PluginError | UserError):
            with blamed(self):
                raise error
        raise UserError(f"--plugin {self.broken[-1]}") from error

    def load_object(self, plugin: object, provider: Provider) -> None:
        """Load a module, or an object with hooks.

        Raises:
            PluginError: it breaks the rules of :mod:`core.plugins.validation`. Nothing of it
                stays; so too after whatever else the plugin raises.
        """
        # A file may only register environments with Gymnasium, say.
        problems = check_hooks(plugin, hookless=provider.is_file)
        if problems:
            raise PluginError("\n    ".join(problems))
        name = _name(provider)
        try:
            self._manager.register(plugin, name=name)
        except ValueError:
            raise PluginError("it is loaded already") from None
        try:
            offers = [(kind, one) for kind in KINDS for one in self._offers(name, kind)]
            if not (offers or self.watched_by(provider) or provider.is_file):
                raise PluginError("it offers and watches nothing")
        except BaseException:
            self._manager.unregister(name=name)
            raise
        for kind, component in offers:
            self._components[kind].append(replace(component, provider=provider))
        holder = plugin if isinstance(plugin, ModuleType) else type(plugin)
        self.modules[provider] = getattr(holder, "__module__", None) or holder.__name__

    @contextmanager
    def temporary(
        self, plugin: object, name: str = "mine", version: str = "0"
    ) -> Iterator[Provider]:
        """Load a module or an object for a while, as in a notebook or a test."""
        holder = plugin if isinstance(plugin, ModuleType) else type(plugin)
        provider = Provider(name, version, holder.__name__)
        self.load_object(plugin, provider)
        try:
            yield provider
        finally:
            self._manager.unregister(name=_name(provider))
            del self.modules[provider]
            self._silenced.discard(_name(provider))
            for kind, found in self._components.items():
                self._components[kind] = [c for c in found if c.provider != provider]

    def _offers(self, plugin: str, kind: str) -> list[AnyComponent]:
        hook = getattr(self._manager.hook, f"register_{kind}")
        return [
            component
            for implementation in hook.get_hookimpls()
            if implementation.plugin_name == plugin
            for component in components_of(kind, implementation.function())
        ]

    # --- asking -------------------------------------------------------------------------

    def components(self, kind: str) -> list[AnyComponent]:
        """Every component of a kind, sorted by name."""
        return sorted(self._components[kind], key=lambda component: component.name)

    def watched_by(self, provider: Provider) -> list[str]:
        """The watch hooks of a loaded plugin."""
        plugin = self._manager.get_plugin(_name(provider))
        callers = self._manager.get_hookcallers(plugin) or []
        return [caller.name for caller in callers if hasattr(Watches, caller.name)]

    def find(self, kind: str, name: str) -> AnyComponent:
        """The component that a preset names, as ``name`` or ``distribution:name``.

        Raises:
            LookupError: unknown or ambiguous; the message lists the choices.
        """
        distribution, _, short = name.rpartition(":")
        found = [c for c in self._components[kind] if c.name == short]
        if distribution:
            found = [c for c in found if _is_from(c.provider, distribution)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LookupError(_clash(kind, short, [c.provider for c in found if c.provider]))
        raise LookupError(self._unknown(kind, name))

    def _unknown(self, kind: str, name: str) -> str:
        known = self.components(kind)
        distribution, _, short = name.rpartition(":")
        hint = did_you_mean(short, {c.name for c in known} - {short})
        lines = [f"no {KINDS[kind]} is called '{name}'.{hint}"]
        if distribution:
            lines += self._about(distribution, kind)
        width = max((len(component.name) for component in known), default=0)
        lines += [f"    {c.name:<{width}}  {c.summary} ({c.provider})" for c in known]
        lines += [f"    left out by --without: {provider}" for provider in self.left_out]
        return "\n".join([*lines, *self.rows_of_broken()])

    def rows_of_broken(self) -> list[str]:
        """Each broken plugin with its error, and how to learn more; for the end of a message."""
        return [f"    broken plugin: {b}\n        see {b.advice}" for b in self.broken]

    def _about(self, distribution: str, kind: str) -> list[str]:
        """Why nothing of ``distribution`` is there, in a line or none."""
        if any(_is_from(provider, distribution) for provider in self.left_out):
            return [f"    {distribution} is left out by --without"]
        if any(_is_from(broken.provider, distribution) for broken in self.broken):
            return [f"    {distribution} is broken: see below"]
        if any(_is_from(provider, distribution) for provider in self.providers):
            return [f"    {distribution} offers no {KINDS[kind]} of that name"]
        hint = did_you_mean(distribution, {p.distribution for p in self.providers})
        return [f"    no plugin is called '{distribution}'.{hint}"]

    # --- telling ------------------------------------------------------------------------

    def tell(self, watch: str, **arguments: Any) -> None:
        """Call a watch hook. A watcher that raises is reported once and told no more."""
        for implementation in getattr(self._manager.hook, watch).get_hookimpls():
            name = implementation.plugin_name
            if name in self._silenced:
                continue
            try:
                implementation.function(*(arguments[key] for key in implementation.argnames))
            except (Exception, SystemExit) as error:
                self._silenced.add(name)
                provider = next(p for p in self.modules if _name(p) == name)
                warnings.warn(
                    f"plugin {provider} ({provider.source}) failed in {watch} and is told no "
                    f"more: {error!r}",
                    stacklevel=2,
                )


def load_plugins(
    files: Iterable[Path] = (),
    *,
    without: Iterable[str] = (),
    strict: bool = False,
    forgiving: bool = False,
) -> Plugins:
    """Built-ins, then installed plugins, then ``--plugin`` files.

    Args:
        without: plugins to leave out, each by distribution, entry point,
            ``distribution:entry_point`` or file name.
        strict: refuse to go on without a plugin that is broken.
        forgiving: a file that is broken is a row too.

    Raises:
        UserError: a name or a file that is not there, a file that breaks the rules, or with
            ``strict`` any broken plugin.
        Exception: what a file raised.
    """
    plugins = Plugins()
    plugins.load_built_ins()
    plugins.without = tuple(dict.fromkeys(without))
    each_once = {path.resolve(): path for path in files}.values()
    points, given = discovery.installed(), [discovery.file(path) for path in each_once]
    _, left_out = discovery.split([*points, *given], plugins.without, "--without")
    plugins.left_out = [found.provider for found in left_out]
    for found in [*discovery.wanted(points), *given]:
        if found in left_out:
            continue
        error = plugins.load(found)
        if error is not None and found in given and not (strict or forgiving):
            plugins.raise_broken(error)
    if strict and plugins.broken:
        raise UserError("\n".join(["--strict-plugins:", *plugins.rows_of_broken()]))
    return plugins


def _name(provider: Provider) -> str:
    """What pluggy knows a plugin by."""
    return f"{provider.distribution}:{provider.source}"


def _is_from(provider: Provider | None, distribution: str) -> bool:
    return provider is not None and normal(provider.distribution) == normal(distribution)


def _clash(kind: str, name: str, providers: list[Provider]) -> str:
    whose = list(dict.fromkeys(provider.distribution for provider in providers))
    if len(whose) < len(providers):  # one distribution, several entry points
        who = " and by ".join(f"{p} ({p.source})" for p in providers)
        point = next((p.entry_point for p in providers if p.entry_point), None)
        way = f"--without {whose[0]}:{point}" if point else f"--without {whose[0]}"
        return f"{KINDS[kind]} '{name}' is offered by {who}; leave one out, such as with {way}"
    who = " and by ".join(map(str, providers))
    ways = " or ".join(f"'{distribution}:{name}'" for distribution in whose)
    return (
        f"{KINDS[kind]} '{name}' is offered by {who}; write {ways} to choose, "
        f"or leave one out, such as with --without {whose[-1]}"
    )
