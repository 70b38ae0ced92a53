"""Options dataclasses, read as an author wrote them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from plugins.testing.harness.options import field_texts


def nested(kind: type) -> list[type]:
    """The dataclasses among the types of the options, and among theirs."""
    found: dict[type, None] = {}
    for hint in _hints(kind).values():
        for inner in _leaves(hint):
            if isinstance(inner, type) and is_dataclass(inner):
                found |= {inner: None, **dict.fromkeys(nested(inner))}
    return list(found)


def undocumented(kind: type) -> list[str]:
    """``Options.field`` of each option without a docstring under it.

    One whose type is a dataclass with a docstring is documented by that.
    """
    return [
        f"{owner.__name__}.{f.name}"
        for owner in (kind, *nested(kind))
        for f in fields(owner)
        if not field_texts(owner).get(f.name) and not _says_itself(_hints(owner)[f.name])
    ]


def _hints(kind: type) -> dict[str, Any]:
    names = {f.name for f in fields(kind)} if is_dataclass(kind) else set()
    hints = typing.get_type_hints(kind)
    return {name: hint for name, hint in hints.items() if name in names}


def _leaves(hint: Any) -> Iterator[Any]:
    arguments = typing.get_args(hint)
    if not arguments or typing.get_origin(hint) is Literal:
        yield hint
    for argument in arguments if typing.get_origin(hint) is not Literal else ():
        yield from _leaves(argument)


def _says_itself(hint: Any) -> bool:
    inner = [leaf for leaf in _leaves(hint) if isinstance(leaf, type) and is_dataclass(leaf)]
    return bool(inner) and all(_own_docstring(leaf) for leaf in inner)


def _own_docstring(kind: type) -> bool:
    # a dataclass without one gets its signature for a docstring
    text = kind.__doc__ or ""
    return bool(text.strip()) and not text.startswith(f"{kind.__name__}(")
