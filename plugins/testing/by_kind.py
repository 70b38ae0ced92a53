"""The suite of each kind of component, found by the name of the kind."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from core.api.hookspecs import KINDS

if TYPE_CHECKING:
    from plugins.testing.suites.component import ComponentSuite

NAMES = {kind: f"{word.split()[0].capitalize()}Suite" for kind, word in KINDS.items()}
"""``MaskSuite`` of ``masks``, and so on."""


class _Suites(Mapping[str, "type[ComponentSuite]"]):
    def __getitem__(self, kind: str) -> type[ComponentSuite]:
        name = NAMES[kind]
        module = importlib.import_module(f"plugins.testing.suites.{kind}")
        suite: type[ComponentSuite] = getattr(module, name)
        return suite

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


SUITES: Mapping[str, type[ComponentSuite]] = _Suites()
"""The suite of each kind; imported when it is looked up."""
