"""``plugins doctor``: every plugin, what it brings, and what is wrong with it."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from importlib import metadata

from core import __version__
from core.api import Provider, UserError, add_plugin_argument, did_you_mean
from core.api.hookspecs import KINDS, PROJECT
from core.cli.verbs import verb_names
from core.config import read_plugins
from core.plugins import Plugins
from core.plugins.discovery import ONLY, normal
from core.plugins.manager import DISTRIBUTION
from core.plugins.validation import Broken
from plugins.commands.columns import columns, write

examples = """\
  python -m core plugins doctor
  python -m core plugins doctor sparse-rigl
  python -m core plugins doctor --plugin every_other.py
"""
PACKAGES = ("torch", "torchrl", "tensordict", "numpy", "pluggy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which plugin."""
    parser.add_argument(
        "distribution", nargs="?", metavar="DIST", help="only of a distribution, or a plugin file"
    )
    add_plugin_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Show; 1 if something is broken."""
    plugins = read_plugins(options, forgiving=True)
    names = _names(plugins, options.distribution)
    write(_surroundings())
    wrong = 0
    for name in names:
        lines, problems = _checked(plugins, name)
        wrong += problems
        write(["", *lines])
    clashes = list(_clashes(plugins, names))
    if clashes:
        write(["", "names that several plugins offer", *(f"  {clash}" for clash in clashes)])
    write(["", f"{wrong} broken" if wrong else "all is well"])
    return 1 if wrong else 0


def _names(plugins: Plugins, wanted: str | None) -> list[str]:
    """The distributions and files to look at: built-ins first."""
    everyone = [*plugins.providers, *plugins.left_out, *(b.provider for b in plugins.broken)]
    names = list(dict.fromkeys(provider.distribution for provider in everyone))
    if wanted is None:
        return names
    found = [name for name in names if normal(name) == normal(wanted)]
    if not found:
        file = f" For a file, add --plugin {wanted}" if wanted.endswith(".py") else ""
        raise UserError(
            f"no plugin is called '{wanted}'.{did_you_mean(wanted, names)}{file}\n"
            f"    plugins: {', '.join(names)}"
        )
    return found


def _surroundings() -> Iterator[str]:
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    yield f"openwork {__version__}, python {platform.python_version()}, {', '.join(versions)}"
    if ONLY in os.environ:
        yield f"{ONLY}={os.environ[ONLY]}: of what is installed only this is loaded"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is not installed"


def _checked(plugins: Plugins, name: str) -> tuple[list[str], int]:
    """What there is to say of a distribution, and how much of it is wrong."""
    loaded = [p for p in plugins.providers if p.distribution == name]
    broken = [b for b in plugins.broken if b.provider.distribution == name]
    left_out = [p for p in plugins.left_out if p.distribution == name]
    rows = [("left out", f"{provider.source}, by --without") for provider in left_out]
    if name == DISTRIBUTION:
        rows += _brought(plugins, loaded)
    for provider in loaded if name != DISTRIBUTION else []:
        rows += [("loaded", _described(provider)), *_brought(plugins, [provider])]
    unmet, asked = _compatibility(name, [*loaded, *(b.provider for b in broken)])
    rows += [("asks for", asked)] if asked else []
    first = (loaded or left_out or [b.provider for b in broken])[0]
    state = "ok" if loaded else "left out"
    state = "BROKEN" if broken else "made for another openwork" if unmet else state
    lines = [f"{first}: {state}", *(columns(rows) if rows else ())]
    for one in broken:
        lines += _explained(one)
    return lines, len(broken) + unmet


def _described(provider: Provider) -> str:
    point = f", entry point {provider.entry_point}" if provider.entry_point else ""
    editable = ", editable: its version says little of the code" if provider.editable else ""
    digest = f", SHA-256 {provider.sha256}" if provider.sha256 else ""
    return f"{provider.source}{point}{editable}{digest}"


def _brought(plugins: Plugins, providers: list[Provider]) -> Iterator[tuple[str, str]]:
    """What plugins offer, by kind, verbs as the command line has them, and what they watch."""
    verbs = {id(verb): name for name, verb in verb_names(plugins).items()}
    for kind in KINDS:
        own = [c for c in plugins.components(kind) if c.provider in providers]
        names = [verbs.get(id(component), component.name) for component in own]
        if names:
            yield kind, ", ".join(names)
    watched = dict.fromkeys(hook for p in providers for hook in plugins.watched_by(p))
    if watched:
        yield "watches", ", ".join(watched)


def _compatibility(name: str, providers: list[Provider]) -> tuple[int, str]:
    """Whether an installed plugin asks for another version of Openwork, and what it says."""
    if name == DISTRIBUTION or not any(p.entry_point or not p.sha256 for p in providers):
        return 0, ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = [Requirement(text) for text in metadata.requires(name) or ()]
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return 0, ""
    ours = [r for r in asked if normal(r.name) == PROJECT and (not r.marker or r.marker.evaluate())]
    if not ours:
        advice = f"dependencies = ['{PROJECT}>={__version__}'] in its pyproject.toml says"
        return 0, f"no version of openwork; {advice} what it was made for"
    unmet = [r for r in ours if not r.specifier.contains(__version__, prereleases=True)]
    said = ", ".join(map(str, ours))
    return len(unmet), f"{said}; here is {__version__}" if unmet else said


def _explained(broken: Broken) -> Iterator[str]:
    """A broken plugin, with the whole traceback of what it raised."""
    yield f"  {_described(broken.provider)}"
    yield from (f"    {line}" for line in broken.error.splitlines())
    yield from (f"    | {line}" for line in broken.traceback.splitlines())


def _clashes(plugins: Plugins, names: list[str]) -> Iterator[str]:
    """Names of several components of a kind, with how to choose."""
    for kind in KINDS:
        providers: dict[str, list[str]] = {}
        for component in plugins.components(kind):
            assert component.provider is not None
            providers.setdefault(component.name, []).append(component.provider.distribution)
        for short, distributions in providers.items():
            if not set(names).isdisjoint(distributions):
                try:
                    plugins.find(kind, short)
                except LookupError as clash:
                    yield str(clash)
