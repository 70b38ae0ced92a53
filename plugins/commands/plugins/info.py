"""``plugins info``: one component, its options, and the presets that use it."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import yaml

from core.api import AnyComponent, UserError, add_plugin_argument, did_you_mean
from core.api.component import Lazy
from core.api.hookspecs import ALL, KINDS
from core.config import read_plugins
from core.config.schema import LISTED, SINGLE
from core.config.shipped import find, shipped
from core.plugins import Plugins
from core.plugins.discovery import normal
from plugins.commands.columns import columns, terminal_width, wrapped, write, write_json
from plugins.commands.plugins.kinds import read_kind
from plugins.commands.yaml_text import as_yaml
from plugins.testing.harness.options import Option, needs_by_default, options_of

examples = """\
  python -m core plugins info erdos_renyi
  python -m core plugins info replay --kind data --json
"""
KEYS = {kind: key for key, kind in (SINGLE | LISTED).items()}
"""The key of a preset that holds components of a kind."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The component, of which kind, how to print."""
    parser.add_argument("name", metavar="NAME", help="the component, or distribution:component")
    parser.add_argument("--kind", metavar="KIND", help=f"only of a kind: {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Show every component of that name."""
    kinds = [read_kind(options.kind)] if options.kind else list(KINDS)
    found = list(_named(read_plugins(options, forgiving=True), options.name, kinds))
    if options.json:
        plain = [_plain(kind, component) for kind, component in found]
        write_json(plain)
        return 0
    for i, (kind, component) in enumerate(found):
        write([""] * bool(i))
        write(_lines(kind, component))
    return 0


def _named(plugins: Plugins, name: str, kinds: list[str]) -> Iterator[tuple[str, AnyComponent]]:
    distribution, _, short = name.rpartition(":")
    known = [(kind, component) for kind in kinds for component in plugins.components(kind)]
    found = [
        (kind, component)
        for kind, component in known
        if component.name == short and _is_from(component, distribution)
    ]
    if not found:
        what = KINDS[kinds[0]] if len(kinds) == 1 else "component"
        hint = did_you_mean(short, [component.name for _, component in known])
        listing = ", ".join(dict.fromkeys(component.name for _, component in known))
        broken = "".join(f"\n    broken plugin: {broken}" for broken in plugins.broken)
        raise UserError(f"no {what} is called '{name}'.{hint}\n    {listing}{broken}")
    yield from found


def _is_from(component: AnyComponent, distribution: str) -> bool:
    assert component.provider is not None
    return not distribution or normal(component.provider.distribution) == normal(distribution)


def _lines(kind: str, component: AnyComponent) -> Iterator[str]:
    yield f"{KINDS[kind]} '{component.name}' ({component.provider})"
    about = [component.summary, *_paragraphs(component.options.__doc__)]
    for text in about:
        yield from (f"  {line}" for line in wrapped(text, terminal_width() - 2))
    facts = [("source", _source(component)), ("needs", _needs(component))]
    facts.append(("provides", ", ".join(sorted(component.provides)) or "nothing"))
    if kind in KEYS:
        users = _used_by(kind, component)
        facts.append(("presets", ", ".join(users) or "none of the shipped ones"))
    yield from ("", *columns(facts), "")
    listed = list(options_of(component.options))
    yield "  options" if listed else "  it has no options"
    for option in listed:
        given = "required" if option.default is MISSING else f"default {as_yaml(option.default)}"
        said = "a mapping" if option.is_mapping else f"{option.kind}, {given}"
        yield f"    {option.name}: {said}"
        for text in _paragraphs(option.text):
            yield from (f"        {line}" for line in wrapped(text, terminal_width() - 8))


def _paragraphs(text: str | None) -> list[str]:
    whole = inspect.cleandoc(text or "").replace("``", "").replace("None:", "null:")
    return [" ".join(part.split()) for part in whole.split("\n\n") if part.strip()]


def _needs(component: AnyComponent) -> str:
    by_default = needs_by_default(component)
    if not callable(component.needs):
        return ", ".join(sorted(component.needs)) or "nothing"
    depends = " ".join(_paragraphs(inspect.getdoc(component.needs))).rstrip(".")
    if by_default is None:
        return depends
    return f"{depends}; with the defaults {', '.join(sorted(by_default)) or 'nothing'}"


def _source(component: AnyComponent) -> str:
    """The plugin's module or file, and where in it the component is built."""
    place = _place(component)
    at = "" if place is None else f" ({place[0]}:{place[1]})"
    assert component.provider is not None
    return f"{component.provider.source}{at}"


def _place(component: AnyComponent) -> tuple[str, int] | None:
    """File and line of the function that builds it."""
    build: Any = component.build
    while isinstance(build, functools.partial):
        build = build.func
    try:
        if isinstance(build, Lazy):
            path, line = _place_unimported(build)
        else:
            path = Path(inspect.getsourcefile(build) or "").absolute()
            line = inspect.getsourcelines(build)[1]
    except (ImportError, OSError, TypeError):  # an object, or code that is in no file
        return None
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path), line


def _place_unimported(build: Lazy) -> tuple[Path, int]:
    """File and line of what a path names; its module, which may need torch, is only read."""
    module, _, name = build.path.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise OSError(f"there is no module {module}")
    path = Path(spec.origin)
    named = (n for n in ast.parse(path.read_bytes()).body if getattr(n, "name", None) == name)
    return path, next((node.lineno for node in named), 1)


def _used_by(kind: str, component: AnyComponent) -> list[str]:
    """Shipped presets that name the component, those that extend them included."""
    return [
        name
        for name, path in shipped().items()
        if any(_means(asked, component) for asked in _asked(path).get(KEYS[kind], ()))
    ]


@functools.cache
def _asked(path: Path) -> dict[str, list[str]]:
    """The components that a shipped preset comes to, by key.

    As :func:`core.config.load` merges them, in a tenth of the time.
    """
    values = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    bases = values.get("extends", [])
    named: dict[str, list[str]] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        found = find(base, path.parent, unlike=path)
        named |= {} if found is None else _asked(found)
    own = {key: _names(values[key]) for key in KEYS.values() if key in values}
    return named | {key: names for key, names in own.items() if names or key in LISTED}


def _names(node: Any) -> list[str]:
    """The names in a node: a name, a mapping with one, or a list of either."""
    if isinstance(node, list):
        return [name for item in node for name in _names(item)]
    name = node.get("name") if isinstance(node, dict) else node
    return [name] if isinstance(name, str) else []


def _means(asked: str, component: AnyComponent) -> bool:
    distribution, _, short = asked.rpartition(":")
    return short in (component.name, ALL) and _is_from(component, distribution)


def _plain(kind: str, component: AnyComponent) -> dict[str, Any]:
    place = _place(component)
    needs = needs_by_default(component)
    return {
        "kind": kind,
        "name": component.name,
        "summary": component.summary,
        "provider": vars(component.provider),
        "file": place and place[0],
        "line": place and place[1],
        "needs": None if needs is None else sorted(needs),
        "needs_depend_on_options": callable(component.needs),
        "provides": sorted(component.provides),
        "presets": _used_by(kind, component) if kind in KEYS else [],
        "options": [_plain_option(option) for option in options_of(component.options)],
    }


def _plain_option(option: Option) -> dict[str, Any]:
    required = option.default is MISSING and not option.is_mapping
    default = None if option.default is MISSING else option.default
    text = " ".join(_paragraphs(option.text))
    return {
        "name": option.name,
        "type": option.kind,
        "required": required,
        "default": default,
        "help": text,
    }
