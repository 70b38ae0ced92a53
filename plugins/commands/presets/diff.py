"""``presets diff``: every value that two presets or runs do not share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.api import add_plugin_argument
from core.config import load, read_plugins, resolve
from core.config.source import Key, dotted
from plugins.commands.columns import write, write_json
from plugins.commands.presets.settings import Setting, settings, settings_of_file
from plugins.commands.presets.show import WIDEST
from plugins.commands.yaml_text import as_yaml

examples = """\
  python -m core presets diff visual_sparse streaming_visual
  python -m core presets diff quickstart runs/quickstart-s0-1a2b3c
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two presets or runs, and how to print."""
    parser.add_argument("one", metavar="A", help="a preset, or a run's directory")
    parser.add_argument("other", metavar="B", help="the same")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(options: argparse.Namespace) -> int:
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
