"""The floor plan: which room may look into which, and how large each may grow.

What follows holds for every import there is, those of types and those inside functions too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.api.hookspecs import KINDS

ROOT = Path(__file__).parents[2]
LADDER = ("api", "plugins", "config", "agent", "training", "cli")
BUDGETS = {"api": 1740, "cli": 750}
MACHINE = 4860
"""Lines of the rest of core. The aims are 1,500 for the contract and 4,500 for the machine: these
numbers may fall, and not rise."""


def modules() -> dict[str, Path]:
    """Every module of core and plugins by its dotted name; a package by its own."""
    paths = [p for top in ("core", "plugins") for p in (ROOT / top).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(path, known)) - {name} for name, path in known.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def lines(*folders: str) -> int:
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sum(len(path.read_text().splitlines()) for path in paths)


def room(module: str) -> str:
    """``core.api.masks`` is in ``api``."""
    return module.split(".")[1] if module.count(".") else ""


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def test_nothing_imports_in_a_circle(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_core_is_a_ladder(graph: dict[str, set[str]]) -> None:
    up = [
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in others
        if room(name) in LADDER and room(other) in LADDER and name.startswith("core.")
        if LADDER.index(room(other)) > LADDER.index(room(name)) and other.startswith("core.")
    ]
    assert up == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_bears_one_name(kind: str) -> None:
    places = (f"core/api/{kind}.py", f"plugins/{kind}/__init__.py", f"tests/plugins/{kind}")
    places = (*places, f"plugins/testing/suites/{kind}.py")
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("name", BUDGETS)
def test_budgets(name: str) -> None:
    assert lines(f"core/{name}") <= BUDGETS[name]


def test_budget_of_the_machine() -> None:
    assert lines("core") - lines("core/api", "core/cli") <= MACHINE
