"""From a preset's nodes to the components that they name, options checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from core.api.component import AnyComponent
from core.api.errors import OptionError, UserError, accuse, did_you_mean
from core.api.hookspecs import ALL, KINDS, PROJECT
from core.config.check import INVALID, Checker
from core.config.load import Loaded
from core.config.schema import LISTED, SINGLE
from core.config.source import Key, dotted
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
    optional: bool = False
    """Asked for by ``all``: left out where it does not suit the agent."""

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
            where = f"{self.loaded.origin(key)}: {dotted(key)}"
            raise UserError(f"{where}: {error.problem}{self._whose}") from None
        except UserError as error:
            where = f"{self.loaded.origin(self.key)}: {dotted(self.key)}"
            raise UserError(f"{where}: {error}{self._whose}") from None
        except Exception as error:
            accuse(error, self.component.provider).add_note(f"while building {self.title}")
            raise

    @property
    def _whose(self) -> str:
        """The component, in brackets, where it is not one of the project's own."""
        provider = self.component.provider
        third = provider is not None and provider.distribution != PROJECT
        return f" ({self.title})" if third else ""

    @property
    def title(self) -> str:
        return _title(self.key, self.component)

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that the component needs with these options."""
        needs = self.component.needs
        return needs(self.options) if callable(needs) else needs


def select(node: Any, kind: str, key: Key, check: Checker, plugins: Plugins) -> Selection | None:
    """The component that a node names, or None: what is wrong was noted."""
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping) or "name" not in node:
        _note_unnamed(node, key, check, plugins.components(kind))
        return None
    if check.value(node["name"], str, (*key, "name")) is INVALID:
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


def _note_unnamed(node: Any, key: Key, check: Checker, choices: list[AnyComponent]) -> None:
    names = ", ".join(component.name for component in choices)
    if node is None:
        check.note_lack(key, key, f"is missing; choose one of: {names}")
    elif isinstance(node, Mapping):
        check.note_lack(key, (*key, "name"), f"needs a 'name'; choose one of: {names}")
    else:
        check.note(key, f"needs a 'name'; choose one of: {names}")


def select_list(
    nodes: Any, kind: str, key: Key, check: Checker, plugins: Plugins
) -> tuple[Selection, ...]:
    """The components that a list names; ``all`` stands for a kind's whole choice."""
    if nodes is None:
        return ()
    if kind == "diagnostics" and nodes == ALL:
        nodes = [ALL]
    if not isinstance(nodes, list):
        check.note(key, "must be a list of components")
        return ()
    named = {_name(node) for node in nodes}
    found: list[Selection] = []
    for i, node in enumerate(nodes):
        if kind == "diagnostics" and _name(node) == ALL:
            found += _everything(node, (*key, i), named, check, plugins)
        else:
            selection = select(node, kind, (*key, i), check, plugins)
            found += [] if selection is None else [selection]
    return tuple(found)


def _everything(
    node: Any, key: Key, named: Collection[Any], check: Checker, plugins: Plugins
) -> Iterator[Selection]:
    """Every diagnostic not named beside it; options of ``all`` go to those that have them."""
    values = {} if isinstance(node, str) else {k: v for k, v in node.items() if k != "name"}
    components = [c for c in plugins.components("diagnostics") if c.name not in named]
    options = {c.name: {f.name for f in fields(c.options)} for c in components}
    known = set().union(*options.values())
    for name in values:
        if name not in known:
            listing = f"\n    options: {', '.join(sorted(known))}"
            hint = did_you_mean(name, known)
            check.note((*key, name), f"no diagnostic has an option '{name}'.{hint}{listing}")
            return
    for component in components:
        own = {k: v for k, v in values.items() if k in options[component.name]}
        title = _title(key, component)
        checked = check.dataclass(component.options, own, key, title)
        if checked is not INVALID:
            yield Selection(key, component.name, component, checked, check.loaded, optional=True)


def _name(node: Any) -> Any:
    return node.get("name") if isinstance(node, Mapping) else node


def _title(key: Key, component: AnyComponent) -> str:
    kind = {**SINGLE, **LISTED}[str(key[0])]
    return f"{KINDS[kind]} '{component.name}' ({component.provider})"
