"""Verbs of the command line that look at runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.api import Command, CommandContext, Component, hookimpl


@dataclass(frozen=True)
class NoOptions:
    """A verb takes arguments, not options."""


def _build_report(options: NoOptions, context: CommandContext) -> Command:
    from plugins.commands.report.command import Report

    return Report(context.catalogue)


def _build_watch(options: NoOptions, context: CommandContext) -> Command:
    from plugins.commands.watch.command import Watch

    return Watch()


@hookimpl
def register_commands() -> Iterable[Component[Any, CommandContext, Command]]:
    """Offer the built-in verbs."""
    return [
        Component(
            "report", NoOptions, _build_report, "one page with pictures of what runs measured"
        ),
        Component("watch", NoOptions, _build_watch, "follow a run that goes on in another process"),
    ]
