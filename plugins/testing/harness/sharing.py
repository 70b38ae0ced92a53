"""What two objects have in common that one of them could change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any


def shared(first: Any, second: Any) -> Iterator[str]:
    """Attributes by which two objects could change each other, and the object if it is one.

    An empty container that stands in the class is for all its objects together.
    """
    if first is second:
        if _holds(first) or getattr(first, "__dict__", None):
            yield f"the object itself ({type(first).__name__})"
        return
    for name, value in vars(first).items() if hasattr(first, "__dict__") else ():
        if value is getattr(second, name, None) and _holds(value):
            yield name
    for base in type(first).__mro__:
        for name, value in vars(base).items():
            if isinstance(value, list | dict | set) and not value and not name.startswith("__"):
                yield f"{base.__name__}.{name}"


def _holds(value: Any) -> bool:
    """Whether ``value`` is a container, a tensor, an array, a module or a generator."""
    kinds: list[type] = [list, dict, set, bytearray]
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None:
        kinds += [torch.Tensor, torch.nn.Module, torch.Generator]
    if numpy is not None:
        kinds += [numpy.ndarray, numpy.random.Generator]
    return isinstance(value, tuple(kinds))
