"""Presets set side by side: what differs, and how a value is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEEDS = frozenset({"seed", "mask_seed", "name"})
"""Keys that make no other experiment: the two seeds, and what the user called the run."""


class Absent:
    """Stands for a key that a preset does not have."""

    def __str__(self) -> str:
        return "\N{EN DASH}"


ABSENT = Absent()


@dataclass(frozen=True)
class Difference:
    """A key that not all presets agree on, and its value in each."""

    key: str
    values: tuple[Any, ...]
    """Plain values, or :data:`ABSENT`, in the order of the presets."""


def without_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the experiment."""
    return {key: value for key, value in config.items() if key not in SEEDS}


def differences(configs: Sequence[Mapping[str, Any]], *, named: bool = False) -> list[Difference]:
    """Every key that not all configurations agree on, seeds aside, in the presets' order.

    Components of a list are compared place by place (``masks.0``), or with their namesakes
    (``masks.erdos_renyi``) where places hold different ones, or ``named`` asks for it.
    """
    return list(_differences([without_seeds(config) for config in configs], (), named))


def _differences(values: Sequence[Any], key: tuple[str, ...], named: bool) -> Iterator[Difference]:
    if same(values):
        return
    present = [value for value in values if value is not ABSENT]
    children = children_of(present, named=named)
    if children is None or (len(present) < len(values) and same(present)):
        yield Difference(".".join(key), tuple(values))
        return
    for child in children:
        inner = [value if value is ABSENT else step(value, child) for value in values]
        # Below a node that some do not have, what the others agree on says nothing more.
        told = [value for value, outer in zip(inner, values, strict=True) if outer is not ABSENT]
        if len(told) == len(values) or child == "name" or not same(told):
            yield from _differences(inner, (*key, child), named)


def children_of(values: Sequence[Any], *, named: bool) -> list[str] | None:
    """Keys, places or names below these values together; None if they are to be seen whole."""
    if all(isinstance(value, Mapping) and value for value in values):
        return list(dict.fromkeys(str(name) for value in values for name in value))
    if not all(map(is_nodes, values)):
        return None
    places = [list(by_name(value)) for value in values]
    if named or any(len(set(names)) > 1 for names in _columns(places)):
        return list(dict.fromkeys(name for names in places for name in names))
    return [str(i) for i in range(max(map(len, places), default=0))]


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """What stands at each place, in the rows that are long enough."""
    longest = max(map(len, rows), default=0)
    return [[row[i] for row in rows if i < len(row)] for i in range(longest)]


def is_nodes(value: Any) -> bool:
    """Whether it is a list of components."""
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def by_name(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Components by name; a second one of the same name as ``NAME-2``."""
    found: dict[str, Any] = {}
    for node in nodes:
        name, number = str(node.get("name")), 2
        title = name
        while title in found:
            title, number = f"{name}-{number}", number + 1
        found[title] = node
    return found


def step(value: Any, child: str) -> Any:
    """What stands at ``child``, or :data:`ABSENT`."""
    if isinstance(value, list) and child.isdecimal():
        return value[int(child)] if int(child) < len(value) else ABSENT
    below = by_name(value) if isinstance(value, list) else value
    return below.get(child, ABSENT) if isinstance(below, Mapping) else ABSENT


def same(values: Sequence[Any]) -> bool:
    """Whether all are equal; 1, 1.0 and true are not."""
    return len({_fingerprint(value) for value in values}) <= 1


def _fingerprint(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = sorted((str(key), _fingerprint(item)) for key, item in value.items())
        return f"{{{inside}}}"
    if isinstance(value, (list, tuple)):
        return f"[{[_fingerprint(item) for item in value]}]"
    return f"{type(value).__name__} {value!r}"


def leaves(value: Any, *, named: bool = False, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a preset that is shown on a line of its own, by dotted key.

    ``named``: components of a list by name instead of place; the order is the same.
    """
    children = children_of([value], named=named)
    if not children:
        yield key, value
        return
    for child in children:
        below = f"{key}.{child}" if key else child
        yield from leaves(step(value, child), named=named, key=below)


def written(value: Any) -> str:
    """A value as a preset has it, on one line; large whole numbers with separators."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
