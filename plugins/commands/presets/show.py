"""``presets show``: what presets come to, and who says so."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from core.api import UserError
from core.config import Incomplete, add_preset_arguments, read_presets
from core.config.source import Key, dotted
from plugins.commands.columns import write, write_json
from plugins.commands.presets.settings import Setting, is_node, settings
from plugins.commands.yaml_text import as_yaml

examples = """\
  python -m core presets show presets/visual_sparse.yaml presets/scales/laptop.yaml
  python -m core presets show quickstart masks.0.sparsity=0.9 > mine.yaml
"""
WIDEST = 44
"""Letters after which a comment no longer waits for the others' column."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Presets, and how to print."""
    add_preset_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(options: argparse.Namespace) -> int:
    """The resolved preset as YAML, each value with a comment that says who set it."""
    try:
        config, _, _ = read_presets(options)
    except Incomplete as error:
        laid = "a fragment is shown beside a preset that it is laid over"
        raise UserError(f"{error}\n    {laid}, such as: presets show quickstart FRAGMENT") from None
    found, values = settings(config), config.plain()
    if options.json:
        set_by = {dotted(setting.key): setting.set_by for setting in found}
        plain = {"presets": config.loaded.files, "values": values, "set_by": set_by}
        write_json(plain)
        return 0
    write(as_preset(values, found))
    return 0


def as_preset(values: Mapping[str, Any], found: list[Setting]) -> Iterator[str]:
    """Lines of a preset that comes to ``values``, with aligned comments."""
    who = {setting.key: setting.set_by for setting in found}
    lines = list(_lines(values, (), who, ""))
    column = max((len(text) for text, note in lines if note and len(text) <= WIDEST), default=0)
    for text, note in lines:
        yield f"{text:<{column}}  # {note}" if note else text


def _lines(node: Any, key: Key, who: Mapping[Key, str], indent: str) -> Iterator[tuple[str, str]]:
    """Each line of a mapping or list, with who set its value."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        below, mark = (*key, name), f"{name}:" if isinstance(node, Mapping) else "-"
        if not is_node(value):
            yield f"{indent}{mark} {as_yaml(value)}", who[below]
        elif mark == "-" and isinstance(value, Mapping):
            first, *more = _lines(value, below, who, f"{indent}  ")
            yield f"{indent}- {first[0].lstrip()}", first[1]
            yield from more
        else:
            yield f"{indent}{mark}", ""
            yield from _lines(value, below, who, f"{indent}  ")
