"""``plugins list``: every component, and the plugins that are not built in."""

from __future__ import annotations

import argparse
from typing import Any

from core.api import Provider, add_plugin_argument
from core.api.hookspecs import KINDS
from core.config import read_plugins
from core.plugins import Plugins
from core.plugins.manager import DISTRIBUTION
from core.plugins.validation import Broken
from plugins.commands.columns import columns, sides, write, write_json
from plugins.commands.plugins.kinds import read_kind

examples = """\
  python -m core plugins list
  python -m core plugins list --kind mask --plugin every_other.py
  python -m core plugins list --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kind, how to print, which plugins."""
    parser.add_argument("--kind", metavar="KIND", help=f"only of a kind: {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """List."""
    kinds = [read_kind(options.kind)] if options.kind else list(KINDS)
    plugins = read_plugins(options, forgiving=True)
    if options.json:
        write_json(_plain(plugins, kinds))
        return 0
    shown = {kind: [_row(component) for component in plugins.components(kind)] for kind in kinds}
    widths = sides(row for rows in shown.values() for row in rows)
    for kind, rows in shown.items():
        write([kind, *columns(rows, widths), ""] if rows else [f"{kind}: none", ""])
    _write_states(plugins)
    return 0


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
