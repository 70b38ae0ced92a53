"""The seam of the command line: verbs that plugins bring, beside core's own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.api.component import AnyComponent


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
    """A verb: ``python -m core NAME ...``. What reads or shows runs is one of these."""

    @property
    def examples(self) -> str:
        """Command lines, one each, as the verb's help shows them."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do it; the process's exit code. ``UserError`` is printed, with exit code 2."""


class Catalogue(Protocol):
    """The components on offer."""

    def components(self, kind: str) -> list[AnyComponent]:
        """Every component of a kind (``figures``), sorted by name."""

    def find(self, kind: str, name: str) -> AnyComponent:
        """One of them; ``LookupError`` with the choices if there is none of that name."""


class Catalogues(Protocol):
    """Looks components up, as the arguments of :func:`add_plugin_argument` say."""

    def __call__(
        self, files: Sequence[Path] = (), *, without: Sequence[str] = (), strict: bool = False
    ) -> Catalogue:
        """What is installed, but for ``without``, and what these plugin files offer."""


@dataclass(frozen=True)
class CommandContext:
    """What a verb may need of the rest."""

    catalogue: Catalogues
    """What is installed, and what plugin files offer."""
