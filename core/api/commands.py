"""The seam of the command line: verbs that plugins bring, beside core's own."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``ArgumentParser.add_subparsers`` gives."""


OWN = {"run": "train from presets", "resume": "go on with a run from its checkpoint"}
"""Core's verbs and what each does; all others are plugins'."""


def add_plugin_argument(parser: argparse.ArgumentParser) -> None:
    """``--plugin``, ``--without``, ``--strict-plugins``: of every verb that looks components up."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE.py",
        help="load a plugin from a file (may be repeated)",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a plugin out: a distribution, an entry point, both as DISTRIBUTION:NAME, or "
        "a plugin file's name (may be repeated)",
    )
    parser.add_argument(
        "--strict-plugins", action="store_true", help="refuse to go on if a plugin is broken"
    )


def readable_time(seconds: int) -> str:
    """``0:03:07``, and ``9d 8h`` from two days on."""
    hours = seconds // 3600
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class Command(Protocol):
    """A verb: ``python -m core NAME ...``. All but ``run`` and ``resume`` are one of these."""

    @property
    def examples(self) -> str:
        """Command lines, one each, as the verb's help shows them."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do it; the process's exit code. ``UserError`` is printed, with exit code 2."""


@dataclass(frozen=True)
class CommandContext:
    """Empty on purpose: a verb may use the whole Python API, such as :mod:`core.config`."""


def add_verb(verbs: Verbs, name: str, summary: str, command: Command) -> argparse.ArgumentParser:
    """A verb's parser, with its arguments and its examples as they are written."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = verbs.add_parser(
        name, help=summary, epilog=f"examples:\n{command.examples}", formatter_class=raw
    )
    command.add_arguments(parser)
    return parser
