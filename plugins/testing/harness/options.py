"""What there is to know of options: from the dataclasses, and the docstrings in their source."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from core.api.component import AnyComponent
from core.api.errors import OptionError
from core.config.check import type_name
from core.config.resolve import as_plain


@dataclass(frozen=True)
class Option:
    """One key that a component's node may hold; of a nested mapping with a dot."""

    name: str
    kind: str
    """Its type as users know it: ``a number``, ``a list, each item a text``, ``a mapping``."""
    default: Any
    """``MISSING`` if it must be given, and of a mapping, whose own keys follow."""
    text: str
    """The docstring under the field; empty if there is none."""

    @property
    def is_mapping(self) -> bool:
        """Whether its own keys follow."""
        return self.kind == "a mapping"


def options_of(kind: type, defaults: Any = None, prefix: str = "") -> Iterator[Option]:
    """Every option of a dataclass, nested ones after the mapping that they stand in."""
    texts, hints = field_texts(kind), typing.get_type_hints(kind)
    for field in fields(kind):
        hint, name = hints[field.name], prefix + field.name
        text = texts.get(field.name, "")
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if is_dataclass(hint) and isinstance(hint, type):
            yield Option(name, "a mapping", MISSING, text)
            yield from options_of(hint, None if default is MISSING else default, f"{name}.")
        else:
            yield Option(name, type_name(hint), as_plain(default), text)


def needs_by_default(component: AnyComponent) -> frozenset[str] | None:
    """What a component needs with its defaults; None where some option must be given."""
    if not callable(component.needs):
        return component.needs
    try:
        return component.needs(component.options())
    except (OptionError, TypeError):
        return None


def field_texts(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, those that it inherits included."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            texts |= _own_texts(base)
    return texts


def _own_texts(kind: type) -> dict[str, str]:
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # written in no file
        return {}
    body = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        value = after.value if isinstance(after, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            texts[statement.target.id] = inspect.cleandoc(value.value)
    return texts


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return MISSING if field.default_factory is MISSING else field.default_factory()
