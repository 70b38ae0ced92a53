"""Presets, overrides and plugins as a command line names them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.api.commands import add_plugin_argument
from core.api.errors import UserError
from core.config.load import load
from core.config.resolve import RunConfig, resolve
from core.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from rich.console import Console


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


def read_presets(arguments: argparse.Namespace) -> tuple[RunConfig, Plugins, list[str]]:
    """The checked configuration, the plugins, and the preset files as given.

    Raises:
        UserError: no preset among the arguments, or any mistake in them.
    """
    files = [text for text in arguments.presets if "=" not in text]
    overrides = [text for text in arguments.presets if "=" in text]
    if not files:
        raise UserError("give at least one preset file, such as presets/quickstart.yaml")
    plugins = read_plugins(arguments)
    return resolve(load(files, overrides), plugins), plugins, files


def read_plugins(arguments: argparse.Namespace, *, forgiving: bool = False) -> Plugins:
    """What the arguments of :func:`core.api.add_plugin_argument` ask for.

    ``forgiving`` and what is raised: see :func:`core.plugins.load_plugins`.
    """
    return load_plugins(
        arguments.plugin,
        without=arguments.without,
        strict=arguments.strict_plugins,
        forgiving=forgiving,
    )


def report_broken(plugins: Plugins, console: Console) -> None:
    """One line for each plugin that could not be loaded, or was not to be."""
    for broken in plugins.broken:
        text = f"plugin left out: {broken}\n    see {broken.advice}"
        console.print(text, highlight=False, markup=False)
    for provider in plugins.left_out:
        console.print(f"plugin left out by --without: {provider}", highlight=False, markup=False)
