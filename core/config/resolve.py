"""From merged values to one checked, frozen configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from core.api.errors import UserError, did_you_mean
from core.config.check import INVALID, Checker
from core.config.load import Loaded
from core.config.schema import DEFAULTS, LISTED, SINGLE, RunOptions
from core.config.selection import Selection, select, select_list
from core.plugins import Plugins


@dataclass(frozen=True)
class RunConfig:
    """Everything that a preset says, checked."""

    run: RunOptions
    environment: Selection
    count: int
    """Training environments in this process."""
    network: Selection
    loss: Selection
    optimizer: Selection
    data: Selection
    execution: Selection
    masks: tuple[Selection, ...]
    diagnostics: tuple[Selection, ...]
    interventions: tuple[Selection, ...]
    loggers: tuple[Selection, ...]
    loaded: Loaded

    @property
    def selections(self) -> tuple[Selection, ...]:
        values = [getattr(self, field.name) for field in fields(self)]
        singles = [value for value in values if isinstance(value, Selection)]
        return (*singles, *(one for value in values if isinstance(value, tuple) for one in value))

    @property
    def needs(self) -> frozenset[str]:
        """Every capability that some component needs."""
        return frozenset().union(*(selection.needs for selection in self.selections))

    def plain(self) -> dict[str, Any]:
        """The resolved configuration, every default filled in: a preset again."""
        plain: dict[str, Any] = as_plain(self.run)
        for name in (field.name for field in fields(self)):
            if name in SINGLE:
                plain[name] = _plain_component(getattr(self, name))
            elif name in LISTED:
                plain[name] = [_plain_component(selection) for selection in getattr(self, name)]
        plain["environment"]["count"] = self.count
        return plain


class Incomplete(UserError):
    """A preset that only lacks what must be given, and is right in all that it says."""

    def __init__(self, message: str, lacking: tuple[str, ...]) -> None:
        super().__init__(message)
        self.lacking = lacking


def resolve(loaded: Loaded, plugins: Plugins) -> RunConfig:
    """Check merged values.

    Raises:
        Incomplete: nothing is wrong but that something is missing.
        UserError: every mistake, one message each.
    """
    check = Checker(loaded)
    values = dict(loaded.values)
    run = _run_options(values, check)
    noted = len(check.problems)
    environment, count = _split_count(values.get("environment"), check)
    nodes = {**DEFAULTS, **values, "environment": environment}
    found: dict[str, Any] = {}
    for name, kind in SINGLE.items():
        found[name] = select(nodes.get(name), kind, (name,), check, plugins)
    for name, kind in LISTED.items():
        found[name] = select_list(nodes[name], kind, (name,), check, plugins)
    _check_once(found["diagnostics"], check)
    if len(check.problems) == noted:  # every component is there
        provided = _provided(found)
        # without those that `all` brought and whose needs are not met
        suiting = (s for s in found["diagnostics"] if not s.optional or s.needs <= provided)
        found["diagnostics"] = tuple(suiting)
        _check_needs(found, check, plugins)
    if check.problems:
        message = "\n".join(check.in_order())
        if len(check.problems) == len(check.lacking):
            raise Incomplete(message, tuple(check.lacking))
        raise UserError(message)
    return RunConfig(run=run, count=count, loaded=loaded, **found)


def _run_options(values: Mapping[str, Any], check: Checker) -> Any:
    """What a preset says besides its components; keys that it cannot have are noted."""
    run_fields = {f.name for f in fields(RunOptions)}
    known = run_fields | set(SINGLE) | set(LISTED)
    for name in values:
        if name not in known:
            hint, listing = did_you_mean(name, known), f"\n    keys: {', '.join(sorted(known))}"
            check.note((name,), f"a preset has no key '{name}'.{hint}{listing}")
    given = {key: value for key, value in values.items() if key in run_fields}
    return check.dataclass(RunOptions, given, (), "a preset")


def _split_count(node: Any, check: Checker) -> tuple[Any, int]:
    """``environment.count`` is core's: how many environments to hold, whatever they are."""
    if not isinstance(node, Mapping) or "count" not in node:
        return node, 1
    rest = {k: v for k, v in node.items() if k != "count"}
    count = check.value(node["count"], int, ("environment", "count"))
    if count is not INVALID and count < 1:
        check.note(("environment", "count"), f"must be at least 1, got {count}")
    return rest, count


def _check_once(diagnostics: tuple[Selection, ...], check: Checker) -> None:
    """A diagnostic's name is that of its metrics, so there is one of each."""
    seen: set[str] = set()
    for selection in diagnostics:
        name = selection.component.name
        if name in seen:
            check.note(selection.key, f"'{name}' is there twice; keep one")
        seen.add(name)


def _check_needs(found: dict[str, Any], check: Checker, plugins: Plugins) -> None:
    """Capabilities that one component needs and no other brings."""
    provided = _provided(found)
    for selection in _chosen(found):
        for need in sorted(selection.needs - provided):
            lacking = _could_provide(need, found, plugins) or [found["data"]]
            for other in lacking:
                kind = SINGLE[str(other.key[0])]
                names = [c.name for c in plugins.components(kind) if need in c.provides]
                choices = f"; {', '.join(names)} would" if names else ""
                instead = selection.component.instead.get(need)
                check.note(
                    selection.key,
                    f"{selection.title} needs {need}, which {other.title} "
                    f"({check.loaded.origin(other.key)}) does not provide{choices}"
                    f"{f'; {instead}' if instead else ''}",
                )


def _chosen(found: dict[str, Any]) -> list[Selection]:
    listed = (selection for name in LISTED for selection in found[name])
    return [*(found[name] for name in SINGLE), *listed]


def _provided(found: dict[str, Any]) -> set[str]:
    return {what for selection in _chosen(found) for what in selection.component.provides}


def _could_provide(need: str, found: dict[str, Any], plugins: Plugins) -> list[Selection]:
    """The nodes of the preset whose kind has some component that brings ``need``."""
    return [
        found[name]
        for name, kind in SINGLE.items()
        if any(need in component.provides for component in plugins.components(kind))
    ]


def as_plain(value: Any) -> Any:
    """Options as a preset holds them: mappings, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value


def _plain_component(selection: Selection) -> dict[str, Any]:
    return {"name": selection.asked, **as_plain(selection.options)}
