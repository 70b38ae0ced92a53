"""``plugins``: what is installed, what each component takes, what is wrong; new ones, checked."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from typing import Any

from core.api.commands import add_plugin_argument
from core.api.component import Provider
from core.api.hookspecs import KINDS
from core.cli.common import Verbs, add_verb
from core.cli.kinds import read_kind
from core.cli.layout import columns, sides, write, write_json
from core.plugins import Plugins, load_plugins
from core.plugins.manager import DISTRIBUTION
from core.plugins.validation import Broken

EXAMPLES = """\
  python -m core plugins list --kind mask
  python -m core plugins info erdos_renyi
  python -m core plugins doctor
"""
LIST_EXAMPLES = """\
  python -m core plugins list
  python -m core plugins list --kind mask --plugin every_other.py
  python -m core plugins list --json
"""


def add_parser(verbs: Verbs) -> None:
    """Register the verb, and the verbs below it."""
    parser = add_verb(verbs, "plugins", "what is installed, what it takes, what is wrong", EXAMPLES)
    below = parser.add_subparsers(dest="plugins_verb", required=True, metavar="VERB")
    listing = add_verb(below, "list", "every component, and plugins that are not", LIST_EXAMPLES)
    listing.add_argument("--kind", metavar="KIND", help=f"only of a kind: {', '.join(KINDS)}")
    listing.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_argument(listing)
    listing.set_defaults(execute=execute)
    for name in ("info", "doctor", "new", "check"):
        module = f"core.cli.plugins_{name}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module).add_parser(below)


def execute(options: argparse.Namespace) -> int:
    """List."""
    kinds = [read_kind(options.kind)] if options.kind else list(KINDS)
    plugins = look(options)
    if options.json:
        write_json(_plain(plugins, kinds))
        return 0
    shown = {kind: [_row(component) for component in plugins.components(kind)] for kind in kinds}
    widths = sides(row for rows in shown.values() for row in rows)
    for kind, rows in shown.items():
        write([kind, *columns(rows, widths), ""] if rows else [f"{kind}: none", ""])
    _write_states(plugins)
    return 0


def look(options: argparse.Namespace) -> Plugins:
    """What is installed and asked for; a plugin file that is broken is a row too."""
    return load_plugins(
        options.plugin,
        without=options.without,
        strict=options.strict_plugins,
        forgiving=True,
    )


def _row(component: Any) -> tuple[str, str, str]:
    return component.name, str(component.provider), component.summary


def _write_states(plugins: Plugins) -> None:
    """The plugins that are not built in, with their state."""
    rows = [
        ("active", str(p), p.source) for p in plugins.providers if p.distribution != DISTRIBUTION
    ]
    rows += [("left out", str(provider), provider.source) for provider in plugins.left_out]
    rows += [("broken", str(broken.provider), _because(broken)) for broken in plugins.broken]
    if rows:
        write(["plugins that are not built in", *columns(rows)])


def _because(broken: Broken) -> str:
    return f"{broken.provider.source}: {' '.join(broken.error.split())} (see {broken.advice})"


def _plain(plugins: Plugins, kinds: list[str]) -> dict[str, Any]:
    components = [
        {
            "kind": kind,
            "name": component.name,
            "summary": component.summary,
            "provider": vars(component.provider),
        }
        for kind in kinds
        for component in plugins.components(kind)
    ]
    states = [_state("active", provider) for provider in plugins.providers]
    states += [_state("left out", provider) for provider in plugins.left_out]
    states += [_state("broken", broken.provider, broken.error) for broken in plugins.broken]
    return {"components": components, "plugins": states}


def _state(state: str, provider: Provider, error: str | None = None) -> dict[str, Any]:
    return {"state": state, **vars(provider), "error": error}
