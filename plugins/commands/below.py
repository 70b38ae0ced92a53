"""Verbs below a verb: ``plugins list`` and the like."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module

from core.api import add_verb


def add_verbs(parser: argparse.ArgumentParser, package: str, summaries: Mapping[str, str]) -> None:
    """Give ``parser`` the verbs of a package, each a module that is a ``Command``.

    The one that is asked for stands in the arguments as ``below``.
    """
    below = parser.add_subparsers(required=True, metavar="VERB", help="what to do")
    for name, summary in summaries.items():
        command = import_module(f"{package}.{name}")
        add_verb(below, name, summary, command).set_defaults(below=command.execute)


def execute(arguments: argparse.Namespace) -> int:
    """The verb that was asked for."""
    code: int = arguments.below(arguments)
    return code
