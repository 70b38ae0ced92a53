"""``validate``: check presets, and build nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from core.api import UserError
from core.config import (
    Incomplete,
    add_preset_arguments,
    load,
    read_plugins,
    read_presets,
    resolve,
)
from core.config.shipped import find
from core.plugins import Plugins
from plugins.commands.columns import write

examples = """\
  python -m core validate presets/visual_sparse.yaml presets/scales/laptop.yaml seed=1
  python -m core validate --each presets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Presets, merged or each by itself."""
    add_preset_arguments(parser)
    parser.add_argument(
        "--each",
        action="store_true",
        help="check every preset by itself, those in the folders named too, instead of merging "
        "them; what only lacks something that another must give is a fragment, not a mistake",
    )


def execute(options: argparse.Namespace) -> int:
    """Check; every mistake is one message."""
    if not options.each:
        _refuse_folders(options.presets)
        _, _, files = read_presets(options)
        write([f"ok: {' '.join(files)}"])
        return 0
    plugins = read_plugins(options)
    overrides = [word for word in options.presets if "=" in word]
    mistakes = []
    for name in _each(word for word in options.presets if "=" not in word):
        try:
            write([_checked(name, overrides, plugins)])
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))
    return 0


def _checked(name: str, overrides: Sequence[str], plugins: Plugins) -> str:
    """What to say of one preset that is right."""
    try:
        resolve(load([name], overrides), plugins)
    except Incomplete as error:
        return f"fragment: {name} (another must give {', '.join(error.lacking)})"
    return f"ok: {name}"


def _each(words: Iterable[str]) -> Iterator[str]:
    """Presets as named, and all below the folders named.

    Raises:
        UserError: nothing is named, or a folder has no presets.
    """
    found = False
    for word in words:
        folder = Path(word)
        names = sorted(map(str, folder.rglob("*.yaml"))) if folder.is_dir() else [word]
        if not names:
            raise UserError(f"{word}: there are no presets in this folder")
        yield from names
        found = True
    if not found:
        raise UserError("give at least one preset, or a folder of them, such as presets")


def _refuse_folders(words: Iterable[str]) -> None:
    for word in words:
        if Path(word).is_dir() and find(word) is None:
            raise UserError(f"{word}: this is a folder; --each checks every preset in it")
