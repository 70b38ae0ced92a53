"""What the verbs share: reading presets and overrides from the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

from core.commands import CommandContext, add_plugin_argument
from core.config import RunConfig, load, resolve
from core.errors import UserError
from core.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from rich.console import Console

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verb(verbs: Verbs, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A verb's parser, its examples shown as they are written."""
    raw = argparse.RawDescriptionHelpFormatter
    return verbs.add_parser(
        name, help=summary, epilog=f"examples:\n{examples}", formatter_class=raw
    )


def add_commands(verbs: Verbs) -> None:
    """The verbs that plugins bring; where two bring one name, the first by distribution."""
    installed = load_plugins()
    context = CommandContext(lambda files: load_plugins(files) if files else installed)
    for component in installed.components("commands"):
        if component.name in verbs.choices:
            continue
        command = component.build(component.options(), context)
        parser = add_verb(verbs, component.name, component.summary, command.examples)
        command.add_arguments(parser)
        parser.set_defaults(execute=command.execute)


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
    plugins = load_plugins(options.plugin)
    return resolve(load(files, overrides), plugins), plugins, files


def report_broken(plugins: Plugins, console: Console) -> None:
    """One line for each plugin that could not be loaded."""
    for broken in plugins.broken:
        console.print(f"plugin left out: {broken}", highlight=False, markup=False)
