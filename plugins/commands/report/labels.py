"""Short names for presets, from what differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.commands.report.differences import (
    ABSENT,
    by_name,
    is_nodes,
    same,
    step,
    without_seeds,
    written,
)

LONGEST = 60
"""Characters of a label, about; what does not fit is left to the table of differences."""
FIRST = ("masks", "network", "loss", "optimizer", "data", "interventions", "environment")
"""Keys that are told first."""
LAST = (
    *("execution", "device", "threads", "compile", "diagnostics", "evaluation"),
    *("checkpoint", "log_every", "loggers", "record_video"),
)
"""Keys that change how a run is made and watched, not what is learned: told only where it takes
them to tell presets apart."""
VAGUE = frozenset({"evaluation", "collect", "checkpoint"})
"""Keys whose own keys say little alone."""
SHOWN = 2
"""Components of a list that are named; more of them are counted."""


@dataclass(frozen=True)
class Part:
    """One thing to tell of a preset."""

    key: tuple[str, ...]
    value: Any = None
    text: str = ""
    """Said as it is, instead of key and value."""


Parts = list[list[Part]]
"""For each preset, what to tell of it."""


def label_presets(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each of several different presets, such as ``sparsity 0.8`` and ``dense``."""
    told = _tell([without_seeds(config) for config in configs], ())
    keys = {part.key for parts in told for part in parts if not part.text}
    learned = [[part for part in parts if part.key[0] not in LAST] for parts in told]
    brief = [[_text(part, keys) for part in _ordered(parts)] for parts in learned]
    whole = [[_text(part, keys) for part in _ordered(parts)] for parts in told]
    enough = all(brief) and len({tuple(texts) for texts in brief}) == len(brief)
    return unique([_joined(texts) for texts in (brief if enough else whole)])


def unique(labels: Sequence[str]) -> list[str]:
    """The same labels, numbered where several are alike."""
    many, seen, found = Counter(labels), Counter[str](), []
    for label in labels:
        seen[label] += 1
        found.append(f"{label} ({seen[label]})" if many[label] > 1 else label)
    return found


def _tell(values: Sequence[Any], key: tuple[str, ...]) -> Parts:
    """What differs below ``key``."""
    if same(values):
        return [[] for _ in values]
    if all(isinstance(value, Mapping) for value in values):
        return _tell_mappings(values, key)
    if all(map(is_nodes, values)):
        return _tell_lists(values, key)
    return [[Part(key, value)] for value in values]


def _tell_mappings(values: Sequence[Any], key: tuple[str, ...]) -> Parts:
    if same([value.get("name") for value in values]) or not key:
        children = list(dict.fromkeys(str(name) for value in values for name in value))
        return _joined_parts(
            [_tell([step(value, child) for value in values], (*key, child)) for child in children]
        )
    return _tell_named(values, key, lambda value: str(value.get("name")), frozenset({"name"}))


def _tell_named(
    values: Sequence[Any], key: tuple[str, ...], title: Any, said: frozenset[str]
) -> Parts:
    """Each component by its title, then what differs between those of one name."""
    told: Parts = [[Part(key, text=title(value))] for value in values]
    for name in {str(value.get("name")) for value in values}:
        alike = [i for i, value in enumerate(values) if str(value.get("name")) == name]
        plain = [{k: v for k, v in values[i].items() if k not in said} for i in alike]
        for i, parts in zip(alike, _tell(plain, key), strict=True):
            told[i] += parts
    return told


def _tell_lists(values: Sequence[list[Any]], key: tuple[str, ...]) -> Parts:
    """Lists of components, each compared with those of its own name."""
    named = [by_name(value) for value in values]
    told: Parts = [[] for _ in values]
    lacking: list[list[str]] = [[] for _ in values]
    for name in dict.fromkeys(name for nodes in named for name in nodes):
        having = [i for i, nodes in enumerate(named) if name in nodes]
        nodes = [named[i][name] for i in having]
        if len(having) == len(values):
            parts = _tell(nodes, (*key, name))
        else:
            parts = _tell_named(nodes, (*key, name), _title, frozenset({"target", "sparsity"}))
        for i, mine in zip(having, parts, strict=True):
            told[i] += mine
        for i in set(range(len(values))) - set(having):
            lacking[i].append(name)
    return [
        _briefly(key, parts, value, missing)
        for parts, value, missing in zip(told, values, lacking, strict=True)
    ]


def _title(node: Mapping[str, Any]) -> str:
    """``erdos_renyi 0.8``, ``erdos_renyi critic 0.8``."""
    target = node.get("target")
    where = [] if target in (None, "all") else [written(target)]
    share = [written(node["sparsity"])] if "sparsity" in node else []
    return " ".join([str(node.get("name")), *where, *share])


def _briefly(key: tuple[str, ...], parts: list[Part], nodes: list[Any], missing: list[str]) -> Any:
    if not nodes:
        return [Part(key, text="dense" if key == ("masks",) else f"no {key[-1]}")]
    if sum(bool(part.text) for part in parts) > SHOWN:
        return [Part(key, text=f"{len(nodes)} {key[-1]}")]
    if not parts and missing:
        fewer = missing if len(missing) <= SHOWN else [f"{len(missing)} {key[-1]}"]
        return [Part(key, text=f"without {', '.join(fewer)}")]
    return parts


def _joined_parts(found: Sequence[Parts]) -> Parts:
    return [[part for parts in several for part in parts] for several in zip(*found, strict=True)]


# --- from parts to a label --------------------------------------------------------------


def _ordered(parts: list[Part]) -> list[Part]:
    rank = {name: i for i, name in enumerate([*FIRST, "", *LAST])}
    return sorted(parts, key=lambda part: rank.get(part.key[0], len(FIRST)))


def _text(part: Part, keys: set[tuple[str, ...]]) -> str:
    """``gamma 0.99``: the end of the key, as long as it must be to be clear."""
    if part.text:
        return part.text
    # an option of a component is known by its own name; evaluation.every is not
    own = part.key[0] == "masks" or (len(part.key) <= 2 and part.key[0] not in VAGUE)
    length = 1 if own else 2
    while sum(key[-length:] == part.key[-length:] for key in keys) > 1:
        length += 1
    name = ".".join(part.key[-length:])
    return f"no {name}" if part.value is ABSENT else f"{name} {written(part.value)}"


def _joined(texts: list[str]) -> str:
    """As many as fit, the first one whole if it is of any sensible length."""
    label = ", ".join(texts)
    while len(label) > LONGEST and len(texts) > 1:
        texts = texts[:-1]
        label = ", ".join(texts) + ", \N{HORIZONTAL ELLIPSIS}"
    return label if len(label) <= 2 * LONGEST else label[: 2 * LONGEST] + "\N{HORIZONTAL ELLIPSIS}"
