"""Verbs of the command line that read and show: each a module, imported when it is asked for."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

from core.api import Command, CommandContext, Component, hookimpl


@dataclass(frozen=True)
class NoOptions:
    """A verb takes arguments, not options."""


VERBS = {
    "describe": (
        "describe.command",
        "parameters, densities, norms, replay bytes and arithmetic of a preset",
    ),
    "plugins": ("plugins", "what is installed, what it takes, what is wrong"),
    "presets": ("presets", "list, show, compare and copy presets"),
    "report": ("report.command", "one page with pictures of what runs measured"),
    "validate": ("validate", "check presets: every mistake at once, nothing is built"),
    "watch": ("watch.command", "follow a run that goes on in another process"),
}
"""The module of each verb, and what it does."""


@final
@dataclass(frozen=True)
class Verb:
    """A module that is a verb; implements ``Command``."""

    examples: str
    add_arguments: Callable[[ArgumentParser], None]
    execute: Callable[[Namespace], int]


def _verb_of(name: str) -> Callable[[NoOptions, CommandContext], Command]:
    """Makes the verb of a module that is imported only then."""

    def build(options: NoOptions, context: CommandContext) -> Command:
        module = import_module(f"{__name__}.{name}")
        return Verb(module.examples, module.add_arguments, module.execute)

    return build


@hookimpl
def register_commands() -> Iterable[Component[Any, CommandContext, Command]]:
    """Offer the built-in verbs."""
    return [
        Component(name, NoOptions, _verb_of(module), summary)
        for name, (module, summary) in VERBS.items()
    ]
