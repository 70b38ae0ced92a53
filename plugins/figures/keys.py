"""What the names of metrics say: ``DIAGNOSTIC/PART/PART``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.api import Study
from plugins.figures.catalogue import CAPTIONS
from plugins.figures.records import listed

NETWORK = re.compile(r"[a-z]\w*(\.\d+)?")
"""A role, or a member of one: ``actor``, ``critic.1``."""
LAYER = re.compile(r"[A-Za-z_]\w*\..+")
"""A role and a path in its module: ``critic.members.0.trunk.input``."""

MEMBER = re.compile(r"(\w+)\.members\.(\d+)\.")
"""What a layer of a critic's member begins with."""

WORDS = {
    "mean_abs": "size of cosines",
    "negative": "pairs at odds",
    "value": "values",
    "value_relative": "values, relative",
    "policy_relative": "policy, relative",
    "mean": "mean bias",
    "std": "spread of the bias",
    "relative": "mean bias, relative",
    "predicted": "predicted",
    "return": "what followed",
    "states": "states that counted",
}


@dataclass(frozen=True)
class Key:
    """A diagnostic's metric, taken apart."""

    text: str
    diagnostic: str
    around: tuple[str, ...]
    """All parts but the layer."""
    layer: str | None = None
    """Role and path, where one layer is meant and not a whole network."""

    @property
    def title(self) -> str:
        """What tells it from others of its diagnostic."""
        match self.diagnostic, self.around:
            case "dormant_ratio", (label, *place, tau):
                return f"{label}{', after activation' if place else ''}, tau {tau}"
            case "gradient_norm", (phase,):
                return f"{phase} loss, mean over updates"
            case "gradient_norm", (phase, role):
                return f"{phase} loss, weights of {role}"
            case "gradient_interference", (phase, what):
                return f"{phase} loss, {WORDS.get(what, what)}"
            case "churn" | "q_bias", (what,):
                return WORDS.get(what, what).replace("_", " ")
        return ", ".join(self.around).replace("_", " ")


def parse(text: str) -> Key:
    """Take a metric's name apart."""
    diagnostic, *parts = text.split("/")
    for index, part in enumerate(parts):
        if LAYER.fullmatch(part) and not NETWORK.fullmatch(part):
            return Key(text, diagnostic, (*parts[:index], *parts[index + 1 :]), part)
    return Key(text, diagnostic, tuple(parts))


def by_network(layers: Sequence[Key]) -> dict[tuple[tuple[str, ...], str], list[Key]]:
    """Keys of layers by what stands around the layer, and by network.

    The members of an ensemble are networks of their own: ``critic.0``, ``critic.1``.
    """
    members = [MEMBER.match(key.layer or "") for key in layers]
    several = len({member[2] for member in members if member}) > 1
    found: dict[tuple[tuple[str, ...], str], list[Key]] = {}
    for key, member in zip(layers, members, strict=True):
        role = (key.layer or "").partition(".")[0]
        network = f"{member[1]}.{member[2]}" if member and several else role
        found.setdefault((key.around, network), []).append(key)
    return found


def diagnostics_of(study: Study) -> set[str]:
    """Names of diagnostics: those that the runs' presets list, and the built-in ones."""
    named = {str(node["name"]) for run in study.runs for node in listed(run, "diagnostics")}
    return set(CAPTIONS) | named


def picture_name(*parts: str) -> str:
    """A picture's name made of words and parts of metrics' names."""
    return re.sub(r"[^a-z0-9_-]", "-", "-".join(parts).lower())


def in_order(orders: Iterable[Iterable[str]]) -> list[str]:
    """All names, each once; what only later ones have stands behind its neighbour there."""
    merged: list[str] = []
    for names in orders:
        after = 0
        for name in names:
            if name in merged:
                after = merged.index(name) + 1
            else:
                merged.insert(after, name)
                after += 1
    return merged


def short_names(paths: Sequence[str]) -> list[str]:
    """Paths of layers or parameters without what they all begin with."""
    split = [path.split(".") for path in paths]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == split[0][shared] for p in split):
        shared += 1
    return [".".join(path[shared:]) for path in split]
