"""One YAML file, or one override, as plain values that know where they were written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.api.errors import UserError

Key = tuple[str | int, ...]
"""A path into the configuration: ``("masks", 0, "sparsity")``."""


@dataclass(frozen=True)
class Origin:
    """Where a value was written."""

    source: str
    """A file's path as the user gave it, or ``command line``."""
    line: int | None = None
    text: str = ""
    """A scalar as it was written, before YAML gave it a type."""

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Source:
    """Values with the origin of each, by key."""

    values: dict[str, Any]
    origins: dict[Key, Origin]


def dotted(key: Key) -> str:
    """``masks.0.sparsity``: the form of messages and of overrides."""
    return ".".join(str(part) for part in key)


def read_file(path: Path) -> Source:
    """Parse a preset.

    Raises:
        UserError: not YAML, or not a mapping.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.problem or error}") from None
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {error}") from None
    if root is None:
        return Source({}, {})
    if not isinstance(values, dict) or not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1: a preset is a mapping of keys to values")
    origins: dict[Key, Origin] = {}
    _collect(root, (), str(path), origins)
    return Source({str(name): value for name, value in values.items()}, origins)


def read_override(text: str) -> tuple[Key, Any, Origin]:
    """Parse ``key.0.key=value``; the value is YAML.

    Raises:
        UserError: no ``=``, an empty key, or a value that is not YAML.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[\w:.-]+", name):
        raise UserError(
            f"command line: '{text}' is neither a preset (FILE.yaml) nor an override (key=value)"
        )
    try:
        parsed = OmegaConf.to_container(OmegaConf.create(f"value: {value}"), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException):
        raise UserError(f"command line: {text}: the value is not valid YAML") from None
    assert isinstance(parsed, dict)
    key: Key = tuple(int(part) if part.isdigit() else part for part in name.split("."))
    return key, parsed["value"], Origin("command line", text=value.strip())


def _collect(node: yaml.Node, key: Key, path: str, origins: dict[Key, Origin]) -> None:
    """The origin of every key below ``node``; a key's line is where the key itself stands."""
    if isinstance(node, yaml.MappingNode):
        children = [(name.value, name.start_mark.line, child) for name, child in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(i, child.start_mark.line, child) for i, child in enumerate(node.value)]
    else:
        return
    for name, line, child in children:
        text = child.value if isinstance(child, yaml.ScalarNode) and child.style is None else ""
        origins[(*key, name)] = Origin(path, line + 1, text)
        _collect(child, (*key, name), path, origins)
