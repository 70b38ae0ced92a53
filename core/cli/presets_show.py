"""``presets show`` and ``presets diff``: what presets come to, and who says so."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.api.errors import UserError
from core.cli.common import read_plugins, read_presets
from core.cli.layout import write, write_json
from core.config import Incomplete, load, resolve
from core.config.provenance import Setting, is_node, settings, settings_of_file
from core.config.source import Key, dotted
from core.config.text import as_yaml

WIDEST = 44
"""Letters after which a comment no longer waits for the others' column."""


def show(options: argparse.Namespace) -> int:
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


def diff(options: argparse.Namespace) -> int:
    """Every value that differs; 0 if none does, 1 otherwise, as of ``diff``."""
    one, other = (_settings(name, options) for name in (options.one, options.other))
    tops = list(dict.fromkeys(key[0] for key in (*one, *other)))
    either = sorted(dict.fromkeys([*one, *other]), key=lambda key: tops.index(key[0]))
    keys = [key for key in either if _differ(one.get(key), other.get(key))]
    if options.json:
        plain = [
            {"key": dotted(key), "a": _plain(one.get(key)), "b": _plain(other.get(key))}
            for key in keys
        ]
        write_json(plain)
    else:
        write(_differences(options, keys, one, other))
    return 1 if keys else 0


def _settings(name: str, options: argparse.Namespace) -> dict[Key, Setting]:
    """The values of a preset; of a run's directory, those of its ``resolved.yaml``, as they are."""
    resolved = Path(name) / "resolved.yaml"
    if resolved.is_file():
        found = settings_of_file(load([resolved]))
    else:
        found = settings(resolve(load([name]), read_plugins(options)))
    return {setting.key: setting for setting in found}


def _differ(one: Setting | None, other: Setting | None) -> bool:
    return one is None or other is None or one.value != other.value


def _plain(setting: Setting | None) -> dict[str, Any] | None:
    return None if setting is None else {"value": setting.value, "set_by": setting.set_by}


def _differences(
    options: argparse.Namespace,
    keys: list[Key],
    one: Mapping[Key, Setting],
    other: Mapping[Key, Setting],
) -> Iterator[str]:
    if not keys:
        yield f"{options.one} and {options.other} come to the same"
        return
    yield from (f"--- {options.one}", f"+++ {options.other}")
    shown = [
        (key, [(sign, side[key]) for sign, side in (("-", one), ("+", other)) if key in side])
        for key in keys
    ]
    texts = [as_yaml(setting.value) for _, sides in shown for _, setting in sides]
    column = max((len(text) for text in texts if len(text) <= WIDEST), default=0)
    for key, sides in shown:
        yield dotted(key)
        for sign, setting in sides:
            yield f"  {sign} {as_yaml(setting.value):<{column}}  # {setting.set_by}"
