"""Where every value of a preset came from, and who provided every component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from core.api import RecordedRun, RunGroup, Study
from plugins.commands.report.differences import leaves, step, written
from plugins.commands.report.facts import NOTHING, items, part

DEFAULT = "default"


@dataclass(frozen=True)
class PresetLine:
    """One line of a resolved preset."""

    node: str
    """``network``, ``masks.0``; empty for what stands at the top."""
    key: str
    """Below the node."""
    value: str
    """Of every run of the group, where they differ."""
    set_by: str
    """File and line, ``command line``, or :data:`DEFAULT`."""
    differs: bool
    """Not the same in all groups."""


def settings(group: RunGroup, differing: Sequence[str]) -> dict[str, list[PresetLine]]:
    """A group's resolved preset by node; ``differing`` are the keys that set groups apart,
    with components of lists by name."""
    found: dict[str, list[PresetLine]] = {}
    config = group.runs[0].config
    named = [key for key, _ in leaves(config, named=True)]
    placed = [key for key, _ in leaves(config)] if config else []
    for key, name in zip(placed, named, strict=False):
        values = [written(reduce(step, key.split("."), run.config)) for run in group.runs]
        origins = [origin(run, key) for run in group.runs]
        apart = any(_overlap(name, other) for other in differing)
        line = PresetLine(*_split(key), _together(values), _together(origins), apart)
        found.setdefault(line.node, []).append(line)
    return found


def _split(key: str) -> tuple[str, str]:
    """The component that a key belongs to, and the rest of the key."""
    parts = key.split(".")
    length = 2 if len(parts) > 2 and parts[1].isdigit() else min(1, len(parts) - 1)
    return ".".join(parts[:length]), ".".join(parts[length:])


def _overlap(one: str, other: str) -> bool:
    """Whether they are the same key, or one stands below the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def origin(run: RecordedRun, key: str) -> str:
    """Who set the value at ``key``."""
    set_by = part(run.record, "set_by")
    if not isinstance(set_by, Mapping):
        return NOTHING
    if key in set_by:
        return str(set_by[key])
    # a component's bare name is written where the preset has the component
    node = key.removesuffix(".name") if key.endswith(".name") else ""
    while node:
        if node in set_by:
            return str(set_by[node])
        node = node.rpartition(".")[0]
    return DEFAULT


def _together(texts: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


@dataclass(frozen=True)
class Provided:
    """A component, and the groups that have it from this provider."""

    at: str
    name: str
    provider: str
    source: str
    groups: tuple[int, ...]
    """Positions in the study; all of them if empty."""


def components(study: Study) -> list[Provided]:
    """Every component of every run, once for each provider."""
    found: dict[tuple[str, str, str, str], set[int]] = {}
    for i, group in enumerate(study.groups):
        for run in group.runs:
            for entry in items(run.record.get("components")):
                provider = part(entry, "provider") or {}
                distribution = part(provider, "distribution") or "unknown"
                made_by = f"{distribution} {part(provider, 'version') or ''}".rstrip()
                row = (entry.get("at"), entry.get("name"), made_by, part(provider, "source"))
                at, name, who, source = (str(cell) for cell in row)
                found.setdefault((at, name, who, source), set()).add(i)
    everywhere = set(range(len(study.groups)))
    return [
        Provided(*row, () if groups == everywhere else tuple(sorted(groups)))
        for row, groups in found.items()
    ]


def other_plugins(study: Study) -> list[str]:
    """What else was loaded, the project's own aside: such plugins may watch a run."""
    used = {(row.provider, row.source) for row in components(study)}
    found: dict[str, None] = {}
    for run in study.runs:
        for entry in items(run.record.get("plugins")):
            who = f"{entry.get('distribution')} {entry.get('version')}"
            if entry.get("distribution") != "openwork" and (who, entry.get("source")) not in used:
                found[f"{who} ({entry.get('source')})"] = None
    return list(found)
