"""Distributions on the path, as a package installer leaves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import installations

GOOD = '''\
from __future__ import annotations

from dataclasses import dataclass, field

from core.api import Component, hookimpl


@dataclass(frozen=True)
class Edges:
    """Nested."""

    first: int = 3
    """Inputs kept at the left
    edge, at least 0."""


@dataclass(frozen=True)
class FanInOptions:
    """Keeps the same number of inputs for every unit."""

    inputs: int
    """Inputs kept, at least 1."""
    rate: float = 1e-4
    """A small ``rate``."""
    edges: Edges = field(default_factory=Edges)


def build(options, context):
    raise NotImplementedError


@hookimpl
def register_masks():
    needs = frozenset({"replay"})
    return [Component("NAME", FanInOptions, build, "as many inputs each", needs)]


@hookimpl
def run_finished(run, step):
    pass
'''
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Put a distribution with one module on the path, as a package installer does."""

    def put(name: str, code: str, asks_for: str | None = "openwork>=0.1,<0.2") -> None:
        module = name.replace("-", "_")
        points, modules = {"main": module}, {f"{module}.py": code}
        installations.install(tmp_path, name, "0.3", points, modules, requires=asks_for)

    with installations.on_path(tmp_path):
        yield put
