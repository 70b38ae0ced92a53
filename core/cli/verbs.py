"""The verbs: core's two, and those that plugins offer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from core import __version__
from core.api.commands import OWN, Command, CommandContext, Verbs, add_plugin_argument, add_verb
from core.api.component import AnyComponent, Provider
from core.api.errors import UserError, did_you_mean
from core.api.hookspecs import PROJECT
from core.config import read_plugins
from core.plugins import Broken, Plugins
from core.plugins.attribution import blamed
from core.plugins.manager import DISTRIBUTION

BUILT_IN = "plugins.commands"
"""Offers the built-in verbs; the other plugins are loaded by verbs that look them up."""


def add_verbs(verbs: Verbs, words: Sequence[str]) -> None:
    """The verb that ``words`` ask for, if it is core's or built in; all verbs, if it is not.

    The plugins of third parties are looked at only then: whatever is wrong with one of them,
    ``plugins doctor`` can be asked.

    Raises:
        UserError: nobody offers that verb.
    """
    asked = words[0] if words else ""
    for name in [asked] if asked in OWN else OWN:
        module = import_module(f"core.cli.{name}")
        add_verb(verbs, name, OWN[name], module).set_defaults(execute=module.execute)
    if asked in OWN:
        return
    built_in = Plugins()
    built_in.load_object(import_module(BUILT_IN), Provider(DISTRIBUTION, __version__, BUILT_IN))
    offered = verb_names(built_in)
    if asked in offered:
        _add_command(verbs, asked, offered[asked])
        return
    plugins = _add_commands(verbs, words)
    if asked and not asked.startswith("-") and asked not in verbs.choices:
        lines = [f"no verb is called '{asked}'.{did_you_mean(asked, verbs.choices)}"]
        lines.append(f"    verbs: {', '.join(verbs.choices)}")
        raise UserError("\n".join([*lines, *plugins.rows_of_broken()]))


def _add_commands(verbs: Verbs, words: Sequence[str]) -> Plugins:
    """The verbs of all plugins, those that the command line names included; what was loaded."""
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_plugin_argument(asked)
    plugins = read_plugins(asked.parse_known_args(words)[0])
    for name, component in verb_names(plugins).items():
        try:
            with blamed(plugins):
                _add_command(verbs, name, component, plugins)
        except Exception as error:
            if name in words[:1]:
                raise
            assert component.provider is not None
            plugins.broken.append(Broken.of(component.provider, error))
    return plugins


def _add_command(
    verbs: Verbs, name: str, component: AnyComponent, plugins: Plugins | None = None
) -> None:
    """Add a verb. ``plugins`` is all that was loaded; None where the verb is built in."""
    command: Command = component.build(component.options(), CommandContext())
    command.add_arguments(argparse.ArgumentParser(add_help=False))  # a trial: half a verb is worse
    parser = add_verb(verbs, name, component.summary, command)
    known = parser._subparsers is not None or "--plugin" in parser._option_string_actions
    if not known:
        with suppress(argparse.ArgumentError):  # it takes one of them itself
            add_plugin_argument(parser)

    def execute(arguments: argparse.Namespace) -> int:
        with blamed(plugins or read_plugins(arguments), may_exit=True):
            return command.execute(arguments)

    # a built-in verb that takes plugins loads them itself, and says whose fault an error is
    parser.set_defaults(execute=command.execute if known and plugins is None else execute)


def verb_names(plugins: Plugins) -> dict[str, AnyComponent]:
    """The verbs of plugins by the name that each has on the command line.

    That is ``distribution:name`` where the plain name is one of core's, a built-in plugin's,
    or another plugin's too: no plugin hides what was there before.
    """
    names: dict[str, AnyComponent] = {}
    components = plugins.components("commands")
    for component in components:
        assert component.provider is not None
        distribution = component.provider.distribution
        alone = sum(rival.name == component.name for rival in components) == 1
        plain = component.name not in OWN and (alone or distribution == PROJECT)
        names[component.name if plain else f"{distribution}:{component.name}"] = component
    return names
