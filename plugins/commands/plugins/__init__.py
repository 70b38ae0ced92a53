"""``plugins``: what is installed, what each component takes, what is wrong; new ones, checked."""

from __future__ import annotations

import argparse

from plugins.commands.below import add_verbs, execute

__all__ = ["add_arguments", "examples", "execute"]

examples = """\
  python -m core plugins list --kind mask
  python -m core plugins info erdos_renyi
  python -m core plugins doctor
"""
BELOW = {
    "list": "every component, and plugins that are not",
    "info": "what a component takes, and who uses it",
    "doctor": "what each plugin brings, and what is wrong",
    "new": "make a package with a plugin, to be changed",
    "check": "run the suites of plugins.testing on what a plugin offers",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    add_verbs(parser, __name__, BELOW)
