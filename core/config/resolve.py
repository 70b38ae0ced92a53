"""From merged values to one checked, frozen configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from core.component import AnyComponent
from core.config.check import INVALID, Checker
from core.config.load import Loaded
from core.config.schema import DEFAULTS, LISTED, SINGLE, RunOptions
from core.config.source import Key, dotted
from core.errors import OptionError, UserError, did_you_mean
from core.hookspecs import KINDS
from core.plugins import Plugins


@dataclass(frozen=True)
class Selection:
    """A component that the preset asks for, with its options checked."""

    key: Key
    asked: str
    """The component's name as the preset writes it: ``name`` or ``distribution:name``."""
    component: AnyComponent
    options: Any
    loaded: Loaded

    def build(self, context: Any) -> Any:
        """Build the component.

        Raises:
            UserError: an option that only the building could find wrong (a task that does
                not exist), with the line that set it; or any error of a third-party plugin,
                with its provider.
        """
        try:
            return self.component.build(self.options, context)
        except OptionError as error:
            key = (*self.key, error.field)
            raise UserError(f"{self.loaded.origin(key)}: {dotted(key)}: {error.problem}") from None
        except UserError as error:
            where = f"{self.loaded.origin(self.key)}: {dotted(self.key)}"
            raise UserError(f"{where}: {error}") from None
        except Exception as error:
            error.add_note(f"while building {self.title}")
            raise

    @property
    def title(self) -> str:
        return _title(self.key, self.component)

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that the component needs with these options."""
        needs = self.component.needs
        return needs(self.options) if callable(needs) else needs


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
    loggers: tuple[Selection, ...]
    loaded: Loaded

    @property
    def selections(self) -> tuple[Selection, ...]:
        singles = (getattr(self, name) for name in SINGLE)
        return (*singles, *self.masks, *self.loggers)

    @property
    def needs(self) -> frozenset[str]:
        """Every capability that some component needs."""
        return frozenset().union(*(selection.needs for selection in self.selections))

    def plain(self) -> dict[str, Any]:
        """The resolved configuration, every default filled in: a preset again."""
        plain: dict[str, Any] = _plain(self.run)
        for name in SINGLE:
            plain[name] = _plain_component(getattr(self, name))
        plain["environment"]["count"] = self.count
        for name in LISTED:
            plain[name] = [_plain_component(selection) for selection in getattr(self, name)]
        return plain


def resolve(loaded: Loaded, plugins: Plugins) -> RunConfig:
    """Check merged values.

    Raises:
        UserError: every mistake, one message each.
    """
    check = Checker(loaded)
    values = dict(loaded.values)
    run_fields = {f.name for f in fields(RunOptions)}
    known = run_fields | set(SINGLE) | set(LISTED)
    for name in values:
        if name not in known:
            listing = f"\n    keys: {', '.join(sorted(known))}"
            check.note(
                (name,), f"a preset has no key '{name}'.{did_you_mean(name, known)}{listing}"
            )
    run = check.dataclass(
        RunOptions, {k: v for k, v in values.items() if k in run_fields}, (), "a preset"
    )
    environment, count = _split_count(values.get("environment"), check)
    nodes = {**DEFAULTS, **values, "environment": environment}
    found: dict[str, Any] = {}
    for name, kind in SINGLE.items():
        found[name] = _select(nodes.get(name), kind, (name,), check, plugins)
    for name, kind in LISTED.items():
        found[name] = _select_list(nodes[name], kind, (name,), check, plugins)
    if not check.problems:
        _check_needs(found, check, plugins)
    if check.problems:
        raise UserError("\n".join(check.in_order()))
    return RunConfig(run=run, count=count, loaded=loaded, **found)


def _split_count(node: Any, check: Checker) -> tuple[Any, int]:
    """``environment.count`` is core's: how many environments to hold, whatever they are."""
    if not isinstance(node, Mapping) or "count" not in node:
        return node, 1
    rest = {k: v for k, v in node.items() if k != "count"}
    count = check.value(node["count"], int, ("environment", "count"))
    if count is not INVALID and count < 1:
        check.note(("environment", "count"), f"must be at least 1, got {count}")
    return rest, count


def _select(node: Any, kind: str, key: Key, check: Checker, plugins: Plugins) -> Selection | None:
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        names = ", ".join(component.name for component in plugins.components(kind))
        if (
            isinstance(node, Mapping)
            and "name" in node
            and check.value(node["name"], str, (*key, "name")) is INVALID
        ):
            return None
        given = "is missing" if node is None else "needs a 'name'"
        check.note(key, f"{given}; choose one of: {names}")
        return None
    try:
        component = plugins.find(kind, node["name"])
    except LookupError as error:
        name_key = (*key, "name") if (*key, "name") in check.loaded.origins else key
        check.note(name_key, str(error))
        return None
    values = {k: v for k, v in node.items() if k != "name"}
    options = check.dataclass(component.options, values, key, _title(key, component))
    return (
        None
        if options is INVALID
        else Selection(key, node["name"], component, options, check.loaded)
    )


def _select_list(
    nodes: Any, kind: str, key: Key, check: Checker, plugins: Plugins
) -> tuple[Selection, ...]:
    if nodes is None:
        return ()
    if not isinstance(nodes, list):
        check.note(key, "must be a list of components")
        return ()
    found = [_select(node, kind, (*key, i), check, plugins) for i, node in enumerate(nodes)]
    return tuple(selection for selection in found if selection is not None)


def _check_needs(found: dict[str, Any], check: Checker, plugins: Plugins) -> None:
    """Capabilities that one component needs and no other brings."""
    selections = [found[name] for name in SINGLE]
    selections += [selection for name in LISTED for selection in found[name]]
    provided = {what for s in selections for what in s.component.provides}
    for selection in selections:
        for need in sorted(selection.needs - provided):
            lacking = _could_provide(need, found, plugins) or [found["data"]]
            for other in lacking:
                kind = SINGLE[str(other.key[0])]
                names = [c.name for c in plugins.components(kind) if need in c.provides]
                choices = f"; {', '.join(names)} would" if names else ""
                check.note(
                    selection.key,
                    f"{selection.title} needs {need}, which {other.title} "
                    f"({check.loaded.origin(other.key)}) does not provide{choices}",
                )


def _could_provide(need: str, found: dict[str, Any], plugins: Plugins) -> list[Selection]:
    """The nodes of the preset whose kind has some component that brings ``need``."""
    return [
        found[name]
        for name, kind in SINGLE.items()
        if any(need in component.provides for component in plugins.components(kind))
    ]


def _title(key: Key, component: AnyComponent) -> str:
    kind = {**SINGLE, **LISTED}[str(key[0])]
    return f"{KINDS[kind]} '{component.name}' ({component.provider})"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _plain_component(selection: Selection) -> dict[str, Any]:
    return {"name": selection.asked, **_plain(selection.options)}
