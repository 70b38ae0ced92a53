"""Compose presets: ``extends`` first, then the files left to right, then the overrides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.api.errors import UserError
from core.config.shipped import find, no_such_preset
from core.config.source import Key, Origin, Source, dotted, read_file, read_override


@dataclass
class Loaded:
    """Merged values, the origin of each, and the files that they came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file that was read."""

    def origin(self, key: Key) -> Origin:
        """Where ``key``, or else the nearest node above it, was written."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return Origin(next(reversed(self.files), "command line"))


def load(presets: Sequence[str | Path], overrides: Sequence[str] = ()) -> Loaded:
    """Read and merge presets and overrides, later ones winning; interpolations are resolved.

    A mapping is merged key by key, except that a component node which names another
    component than the one below it starts afresh. A list is replaced as a whole; overrides
    reach into it by index (``masks.0.sparsity=0.5``).

    Raises:
        UserError: a file that is missing, malformed or extends itself; a bad override.
    """
    from omegaconf import OmegaConf  # a fifth of the time that listing plugins takes
    from omegaconf.errors import OmegaConfBaseException

    loaded = Loaded()
    _all(lambda preset: _add_preset(loaded, str(preset)), presets)
    _all(lambda override: _set(loaded, *read_override(override)), overrides)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(loaded.values), resolve=True)
    except OmegaConfBaseException as error:
        key_text = error.full_key or ""
        key = tuple(int(p) if p.isdigit() else p for p in key_text.split("."))
        raise UserError(f"{loaded.origin(key)}: {key_text}: {error.msg or error}") from None
    assert isinstance(resolved, dict)
    loaded.values = {str(name): value for name, value in resolved.items()}
    return loaded


def _all(add: Callable[[Any], None], what: Iterable[str | Path]) -> None:
    """Add each, and raise every mistake in one."""
    mistakes = []
    for one in what:
        try:
            add(one)
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))


def _add_preset(loaded: Loaded, name: str) -> None:
    path = find(name)
    if path is None:
        raise UserError(f"{name}: there is no such preset{no_such_preset(name, Path())}")
    _add_file(loaded, path, ())


def _add_file(loaded: Loaded, path: Path, parents: tuple[Path, ...]) -> None:
    if path.resolve() in parents:
        raise UserError(f"{path}: extends itself")
    source = read_file(path)
    loaded.files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    for base in _bases(source):
        found = find(base, path.parent, unlike=path) or find(base, path.parent)
        if found is None:
            problem = f"there is no preset '{base}' beside this one"
            raise UserError(
                f"{source.origins[('extends',)]}: extends: {problem}"
                f"{no_such_preset(base, path.parent)}"
            )
        _add_file(loaded, found, (*parents, path.resolve()))
    _merge(loaded, loaded.values, source.values, (), source)


def _bases(source: Source) -> list[str]:
    bases = source.values.pop("extends", [])
    listed = [bases] if isinstance(bases, str) else bases
    if not isinstance(listed, list) or not all(isinstance(base, str) for base in listed):
        raise UserError(
            f"{source.origins[('extends',)]}: extends: must be a file or a list of files"
        )
    return listed


def _merge(
    loaded: Loaded, here: dict[str, Any], values: dict[str, Any], key: Key, source: Source
) -> None:
    """Merge a mapping that stands at ``key`` in ``source`` into what is loaded ``here``."""
    for name, value in values.items():
        child = (*key, name)
        present = here.get(name)
        if isinstance(value, dict) and isinstance(present, dict) and _same(present, value):
            loaded.origins[child] = source.origins[child]
            _merge(loaded, present, value, child, source)
            continue
        _forget(loaded, child)
        here[name] = value
        below = {k: o for k, o in source.origins.items() if k[: len(child)] == child}
        loaded.origins.update(below)


def _same(present: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether two nodes are to be merged: not if they name different components."""
    return "name" not in value or present.get("name", value["name"]) == value["name"]


def _set(loaded: Loaded, key: Key, value: Any, origin: Origin) -> None:
    parent: Any = loaded.values
    for depth, part in enumerate(key[:-1]):
        parent = _step(parent, part, key[: depth + 1], origin)
        loaded.origins.setdefault(key[: depth + 1], origin)
    last = key[-1]
    present = _step(parent, last, key, origin) if isinstance(parent, list) else parent.get(last)
    if last == "name" and len(key) > 1 and present != value:
        # naming another component on the command line starts the node afresh, as in a file
        parent.clear()
        _forget(loaded, key[:-1])
        loaded.origins[key[:-1]] = origin
    if isinstance(value, dict) and isinstance(present, dict) and _same(present, value):
        for name, child in value.items():
            _set(loaded, (*key, name), child, origin)
        return
    _forget(loaded, key)
    parent[last] = value
    _mark(loaded, key, value, origin)


def _mark(loaded: Loaded, key: Key, value: Any, origin: Origin) -> None:
    """Note who wrote a value, and everything in it."""
    loaded.origins[key] = origin
    if isinstance(value, dict | list):
        for name, child in value.items() if isinstance(value, dict) else enumerate(value):
            _mark(loaded, (*key, name), child, origin)


def _step(parent: Any, part: str | int, key: Key, origin: Origin) -> Any:
    """One step down for an override; a missing mapping is made, a missing list item is not."""
    if isinstance(parent, list):
        if not isinstance(part, int) or part >= len(parent):
            raise UserError(
                f"{origin}: {dotted(key)}: the list has {len(parent)} items; "
                "give an index below that"
            )
        return parent[part]
    if not isinstance(parent, dict):
        raise UserError(f"{origin}: {dotted(key)}: there is a value above it, not a mapping")
    name = str(part)
    if name not in parent or isinstance(parent[name], str):
        # a component written as its bare name, or a node that no file has
        parent[name] = {"name": parent[name]} if name in parent else {}
    return parent[name]


def _forget(loaded: Loaded, key: Key) -> None:
    for known in [k for k in loaded.origins if k[: len(key)] == key]:
        del loaded.origins[known]
