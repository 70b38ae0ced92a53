"""What the verbs share: reading presets and overrides from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from core.api.commands import CommandContext, add_plugin_argument
from core.api.component import AnyComponent
from core.api.errors import UserError
from core.config import RunConfig, load, resolve
from core.plugins import Plugins, load_plugins
from core.plugins.attribution import blamed
from core.plugins.manager import DISTRIBUTION

if TYPE_CHECKING:
    from rich.console import Console

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verb(verbs: Verbs, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A verb's parser, its examples shown as they are written."""
    raw = argparse.RawDescriptionHelpFormatter
    return verbs.add_parser(
        name, help=summary, epilog=f"examples:\n{examples}", formatter_class=raw
    )


def add_commands(verbs: Verbs, words: Sequence[str]) -> Plugins:
    """The verbs of plugins, those that the command line names included; what was loaded."""
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_plugin_argument(asked)
    given = asked.parse_known_args(words)[0]
    plugins = read_plugins(given)

    def catalogue(
        files: Sequence[Path] = (), *, without: Sequence[str] = (), strict: bool = False
    ) -> Plugins:
        same = (*files,) == (*given.plugin,) and (*without,) == (*given.without,)
        return plugins if same else load_plugins(files, without=without, strict=strict)

    for name, component in command_names(plugins, tuple(verbs.choices)).items():
        try:
            with blamed(plugins):
                _add_command(verbs, name, component, CommandContext(catalogue), plugins)
        except Exception as error:
            if name in words[:1]:
                raise
            plugins.note_broken(component, error)
    return plugins


def command_names(plugins: Plugins, taken: Sequence[str]) -> dict[str, AnyComponent]:
    """The verbs of plugins by the name that each has on the command line.

    That is ``distribution:name`` where the plain name is one of core's (``taken``), a built-in
    plugin's, or another plugin's too: no plugin hides what was there before.
    """
    names: dict[str, AnyComponent] = {}
    components = plugins.components("commands")
    for component in components:
        assert component.provider is not None
        distribution = component.provider.distribution
        alone = sum(rival.name == component.name for rival in components) == 1
        plain = component.name not in taken and (alone or distribution == DISTRIBUTION)
        names[component.name if plain else f"{distribution}:{component.name}"] = component
    return names


def _add_command(
    verbs: Verbs, name: str, component: AnyComponent, context: CommandContext, plugins: Plugins
) -> None:
    command = component.build(component.options(), context)
    command.add_arguments(argparse.ArgumentParser(add_help=False))  # a trial: half a verb is worse
    parser = add_verb(verbs, name, component.summary, command.examples)
    command.add_arguments(parser)
    with suppress(argparse.ArgumentError):  # it takes them itself
        add_plugin_argument(parser)

    def execute(arguments: argparse.Namespace) -> int:
        with blamed(plugins, may_exit=True):
            code: int = command.execute(arguments)
            return code

    parser.set_defaults(execute=execute)


def add_preset_arguments(parser: argparse.ArgumentParser) -> None:
    """Presets, overrides and ``--plugin``, as every verb that reads a preset takes them."""
    parser.add_argument(
        "presets",
        nargs="+",
        metavar="PRESET | key=value",
        help="preset files, merged left to right, then overrides such as seed=1 or "
        "masks.0.sparsity=0.5",
    )
    add_plugin_argument(parser)


def read_presets(options: argparse.Namespace) -> tuple[RunConfig, Plugins, list[str]]:
    """The checked configuration, the plugins, and the preset files as given.

    Raises:
        UserError: no preset among the arguments, or any mistake in them.
    """
    files = [text for text in options.presets if "=" not in text]
    overrides = [text for text in options.presets if "=" in text]
    if not files:
        raise UserError("give at least one preset file, such as presets/quickstart.yaml")
    plugins = read_plugins(options)
    return resolve(load(files, overrides), plugins), plugins, files


def read_plugins(options: argparse.Namespace) -> Plugins:
    """What ``--plugin``, ``--without`` and ``--strict-plugins`` ask for."""
    return load_plugins(options.plugin, without=options.without, strict=options.strict_plugins)


def report_broken(plugins: Plugins, console: Console) -> None:
    """One line for each plugin that could not be loaded, or was not to be."""
    for broken in plugins.broken:
        text = f"plugin left out: {broken}\n    see {broken.advice}"
        console.print(text, highlight=False, markup=False)
    for provider in plugins.left_out:
        console.print(f"plugin left out by --without: {provider}", highlight=False, markup=False)
