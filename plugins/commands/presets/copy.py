"""``presets copy``: a shipped preset becomes a file of one's own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import yaml

from core.api import UserError
from core.config.shipped import (
    SHIPPED,
    find,
    find_shipped,
    no_such_preset,
    preset_name,
)
from plugins.commands.columns import write
from plugins.commands.presets.list import FRAGMENTS

examples = """\
  python -m core presets copy quickstart mine.yaml
  python -m core presets copy studies/capacity . --force
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The preset, and where to."""
    parser.add_argument("name", metavar="NAME", help="of the shipped preset")
    parser.add_argument("file", type=Path, metavar="FILE", help="where to write it, or a folder")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def execute(options: argparse.Namespace) -> int:
    """Write the copy; say how to go on."""
    source = find_shipped(options.name)
    if source is None:
        ending = no_such_preset(options.name, SHIPPED)
        raise UserError(f"{options.name}: no such preset is shipped{ending}")
    target: Path = options.file
    target = target / source.name if target.is_dir() else target
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}")
    if target.exists() and target.samefile(source):
        raise UserError(f"{target}: this is the shipped preset itself; give another file")
    if target.exists() and not options.force:
        raise UserError(f"{target}: there is a file already; --force replaces it")
    text, bases = with_shipped_bases(source)
    target.write_text(text, encoding="utf-8")
    write([f"{target}: a copy of {source}", *_shadowed(target, bases)])
    fragment = preset_name(source).rpartition("/")[0] in FRAGMENTS
    write([f"python -m core.run {'PRESET ' if fragment else ''}{target}"])
    return 0


def with_shipped_bases(source: Path) -> tuple[str, list[str]]:
    """The text of a shipped preset as it is understood anywhere, and what it extends.

    What it extends is named as shipped (``base/sac.yaml``) instead of beside it.
    """
    text = source.read_text(encoding="utf-8")
    bases: list[str] = []
    for node in reversed(_extended(yaml.compose(text, Loader=yaml.SafeLoader))):
        base = find(node.value, source.parent, unlike=source)
        assert base is not None, node.value
        bases.insert(0, f"{preset_name(base)}.yaml")
        text = text[: node.start_mark.index] + bases[0] + text[node.end_mark.index :]
    return text, bases


def _extended(root: yaml.Node | None) -> list[yaml.Node]:
    """The scalars of ``extends``, in order."""
    if not isinstance(root, yaml.MappingNode):
        return []
    found = [value for name, value in root.value if name.value == "extends"]
    return [
        scalar
        for value in found
        for scalar in (value.value if isinstance(value, yaml.SequenceNode) else [value])
    ]


def _shadowed(target: Path, bases: list[str]) -> Iterator[str]:
    """What the copy extends that is not the shipped preset of that name."""
    for base in bases:
        meant, shipped_one = find(base, target.parent, unlike=target), find_shipped(base)
        if meant is not None and shipped_one is not None and not meant.samefile(shipped_one):
            yield f"note: it extends {meant}, which comes before the shipped {base}"
