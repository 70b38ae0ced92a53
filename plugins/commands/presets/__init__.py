"""``presets``: what is shipped, what one comes to, how two differ, a copy of one's own."""

from __future__ import annotations

import argparse

from plugins.commands.below import add_verbs, execute

__all__ = ["add_arguments", "examples", "execute"]

examples = """\
  python -m core presets list
  python -m core presets show quickstart seed=1
  python -m core presets diff state_sparse state_streaming
  python -m core presets copy quickstart mine.yaml
"""
BELOW = {
    "list": "the shipped presets",
    "show": "every value, and who set it",
    "diff": "what differs; exit code 1 if something",
    "copy": "a shipped preset as a file of your own",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below it."""
    add_verbs(parser, __name__, BELOW)
