"""What deliberately bad plugins are made with, and how a suite is seen to find what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import SkipTest

import pytest

from core.api import Component, hookimpl
from plugins.testing import SUITES


@dataclass(frozen=True)
class NoOptions:
    """Nothing to choose."""


@dataclass(frozen=True)
class Fault:
    """A component that a check must refuse, with these words in the message."""

    kind: str
    check: str
    words: str
    build: Callable[[Any, Any], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    options_type: type = NoOptions
    component: Mapping[str, Any] = field(default_factory=dict)
    suite: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}-{self.check}"


def but(base: type, **changed: Any) -> type:
    """The class with some attributes changed."""
    return type(f"Faulty{base.__name__}", (base,), changed)


def offering(fault: Fault) -> ModuleType:
    """A plugin that offers the component, called ``faulty``."""
    said = {"summary": "does something wrong", **fault.component}
    offered = Component("faulty", fault.options_type, fault.build, **said)
    plugin = ModuleType("faulty_plugin")
    hook = f"register_{fault.kind}"
    setattr(plugin, hook, hookimpl(lambda: [offered]))
    return plugin


def assert_found(fault: Fault) -> None:
    """The suite's check fails, and says what is wrong."""
    streams = "streaming" in SUITES[fault.kind].switches
    attributes = {
        "component": "faulty",
        # one agent is enough to be found by
        "capabilities": {"streaming": False} if streams else {},
        "plugin": offering(fault),
        "options": dict(fault.options),
        **fault.suite,
    }
    suite = type("CheckFaulty", (SUITES[fault.kind],), attributes)
    with pytest.raises(AssertionError) as caught:
        _run(getattr(suite(), f"test_{fault.check}"))
    assert fault.words in str(caught.value)


def _run(check: Callable[[], None]) -> None:
    try:
        check()
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")
