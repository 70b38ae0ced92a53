"""Every value of a resolved preset, with who set it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.config.load import Loaded
from core.config.resolve import RunConfig
from core.config.schema import LISTED, SINGLE
from core.config.source import Key

DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """One value that is not a mapping, nor a list that holds mappings."""

    key: Key
    value: Any
    set_by: str
    """``FILE:LINE``, ``command line``, ``default`` or ``default of`` a component."""


def settings(config: RunConfig) -> list[Setting]:
    """Every value of a configuration, in the order of :meth:`RunConfig.plain`."""
    return list(_walk(config.plain(), (), lambda key: _set_by(config, key)))


def settings_of_file(loaded: Loaded) -> list[Setting]:
    """Every value as it was loaded, unchecked: those of a run's ``resolved.yaml``."""
    return list(_walk(loaded.values, (), lambda key: str(loaded.origin(key))))


def _walk(value: Any, key: Key, set_by: Callable[[Key], str]) -> Iterator[Setting]:
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _walk(child, (*key, name), set_by)
    elif is_node(value):
        for i, child in enumerate(value):
            yield from _walk(child, (*key, i), set_by)
    else:
        keys = [(*key, i) for i in range(len(value))] if isinstance(value, list) else []
        who = dict.fromkeys(map(set_by, keys or [key]))
        yield Setting(key, value, ", ".join(who))


def is_node(value: Any) -> bool:
    """Whether a value is written on lines of its own: a mapping, or a list with one in it."""
    if isinstance(value, list):
        return any(isinstance(child, Mapping | list) for child in value)
    return isinstance(value, Mapping)


def _set_by(config: RunConfig, key: Key) -> str:
    top, owner = str(key[0]), None
    if top in SINGLE:
        owner = getattr(config, top)
    elif top in LISTED and len(key) > 1:
        assert isinstance(key[1], int)
        owner = getattr(config, top)[key[1]]
        key = (*owner.key, *key[2:])  # 'all' is one item in the file, and several here
    if _given(config.loaded.values, key):
        return str(config.loaded.origin(key))
    if owner is None or key in {(*owner.key, "name"), ("environment", "count")}:
        return DEFAULT  # core's own
    return f"{DEFAULT} of {owner.title}"


def _given(values: Any, key: Key) -> bool:
    """Whether a preset or an override says it; a component's bare name is its ``name``."""
    for part in key:
        if isinstance(values, str):
            return key[-1] == "name"
        if isinstance(values, list):
            if not isinstance(part, int) or part >= len(values):
                return False
        elif not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
