"""``plugins check``: every component of a plugin against the suite of its kind."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.api import AnyComponent, Provider, UserError, did_you_mean
from core.api.hookspecs import KINDS, PROJECT
from core.config.check import is_required
from core.config.source import read_override
from core.plugins import Broken, Plugins, load_plugins
from core.plugins.discovery import normal
from plugins.commands.columns import write

if TYPE_CHECKING:
    from plugins.testing import Checked

examples = """\
  python -m core plugins check openwork-fan-in
  python -m core plugins check fan_in.py fan_in.inputs=4 --verbose
  python -m core plugins check openwork-fan-in --capability fan_in.streaming=false
"""
FAILED = 1
"""Exit code where a check failed."""


@dataclass
class Offer:
    """One component of the plugin that is checked, and what it is checked with."""

    kind: str
    component: AnyComponent
    options: dict[str, Any] = field(default_factory=dict)
    capabilities: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} '{self.component.name}'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The plugin, and what its components are checked with."""
    parser.add_argument("plugin", metavar="DIST | FILE.py", help="an installed plugin, or a file")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME.option=value",
        help="what a preset would write for a component; defaults otherwise",
    )
    parser.add_argument(
        "--capability",
        action="append",
        default=[],
        metavar="NAME.word=false",
        help="what a component cannot do, as in a suite's 'capabilities' (may be repeated)",
    )
    parser.add_argument("--verbose", action="store_true", help="show every check")


def execute(options: argparse.Namespace) -> int:
    """Check all that the plugin offers; 1 if anything failed."""
    file = Path(options.plugin) if options.plugin.endswith(".py") else None
    plugins = load_plugins([file] if file else [], forgiving=True)
    providers, broken = _sought(plugins, options.plugin, file)
    write(line for one in broken for line in _broken_lines(one))
    offers = [
        Offer(kind, component)
        for kind in KINDS
        for component in plugins.components(kind)
        if component.provider in providers
    ]
    if not offers and not broken:
        raise UserError(f"{options.plugin}: it offers no component, and there is nothing to check")
    _set(offers, options.words, "options")
    _set(offers, options.capability, "capabilities")
    _require_options(offers, options.plugin)
    # the suites' networks are tiny: a second thread would only make them slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    good = [_check(offer, file, verbose=options.verbose) for offer in offers]
    return 0 if all(good) and not broken else FAILED


# --- what is checked --------------------------------------------------------------------


def _sought(plugins: Plugins, name: str, file: Path | None) -> tuple[list[Provider], list[Broken]]:
    """The plugins of that distribution or file: those that are loaded, and those that broke."""

    def is_it(provider: Provider) -> bool:
        if file is not None:
            return provider.source == str(file.absolute())
        return normal(provider.distribution) == normal(name)

    loaded = [provider for provider in plugins.providers if is_it(provider)]
    broken = [one for one in plugins.broken if is_it(one.provider)]
    if not loaded and not broken:
        raise UserError(_unknown(plugins, name))
    return loaded, broken


def _unknown(plugins: Plugins, name: str) -> str:
    known = {p.distribution for p in plugins.providers}
    known |= {one.provider.distribution for one in plugins.broken}
    try:
        version = metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        listing = ", ".join(sorted(known))
        return (
            f"{name}: no plugin of that name is installed.{did_you_mean(name, known)}\n"
            f"    installed: {listing}\n    to check a file, give its path: NAME.py"
        )
    return (
        f"{name} {version} is installed, but names no plugin; its pyproject.toml needs\n"
        f"    [project.entry-points.{PROJECT}]\n    mine = 'its_module'\n"
        "and it has to be installed again after that"
    )


def _broken_lines(broken: Broken) -> Iterator[str]:
    yield f"{broken.provider} cannot be used: {broken.error}"
    yield from (f"    {line}" for line in broken.traceback.splitlines())


def _set(offers: Sequence[Offer], settings: Sequence[str], where: str) -> None:
    """Give ``NAME.option=value`` to the components of that name."""
    names = sorted({offer.component.name for offer in offers})
    for text in settings:
        (name, *path), value, _ = read_override(text)
        if name not in names or not path:
            hint = did_you_mean(str(name), names)
            known = ", ".join(names)
            raise UserError(
                f"command line: {text}: write COMPONENT.option=value.{hint}\n    it offers: {known}"
            )
        for offer in offers:
            if offer.component.name == name:
                below = getattr(offer, where)
                for part in path[:-1]:
                    below = below.setdefault(part, {})
                below[path[-1]] = value


def _require_options(offers: Sequence[Offer], plugin: str) -> None:
    """Raise ``UserError`` for components that need options which were not given."""
    lines = []
    for offer in offers:
        for option in fields(offer.component.options):
            if is_required(option) and option.name not in offer.options:
                lines.append(f"    {offer} needs {offer.component.name}.{option.name}=VALUE")
    if lines:
        raise UserError("\n".join([f"{plugin}: give what presets have to give", *lines]))


# --- checking ---------------------------------------------------------------------------


def _check(offer: Offer, file: Path | None, *, verbose: bool) -> bool:
    """Run one suite and tell how it went; whether nothing failed."""
    from plugins.testing import run_checks, suite_for

    provider = offer.component.provider
    assert provider is not None
    name = offer.component.name
    suite = suite_for(
        offer.kind,
        name if file else f"{provider.distribution}:{name}",
        offer.options,
        None if file is None else str(file.absolute()),
        capabilities=offer.capabilities,
    )
    begun = time.perf_counter()
    checked = list(run_checks(suite))
    failed = [one for one in checked if one.outcome == "failed"]
    write([_sum(offer, checked, time.perf_counter() - begun)])
    for one in checked if verbose else failed:
        write(_told(one))
    return not failed


def _sum(offer: Offer, checked: Sequence[Checked], seconds: float) -> str:
    """``mask 'fan_in' (openwork-fan-in 0.1.0): 40 passed, 1 skipped in 5.2 s``."""
    counts = {
        outcome: sum(one.outcome == outcome for one in checked)
        for outcome in ("failed", "passed", "skipped")
    }
    shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"{offer} ({offer.component.provider}): {shown} in {seconds:.1f} s"


def _told(checked: Checked) -> Iterator[str]:
    first, *more = checked.message.splitlines() or [""]
    yield f"    {checked.outcome} {checked.name}: {first}".rstrip(": ")
    yield from (f"        {line}" for line in more)
