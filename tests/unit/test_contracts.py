"""Who may import whom: the import linter's contracts are about every module there is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.api.hookspecs import KINDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contracts() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {c["name"]: c for c in project["tool"]["importlinter"]["contracts"]}


def modules(folder: Path) -> set[str]:
    return {
        f"{folder.name}.{path.stem}"
        for path in folder.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem[0] != "_"
    }


def test_core_imports_no_plugin(contracts: dict[str, Any]) -> None:
    contract = contracts["core imports no plugin"]
    assert (contract["source_modules"], contract["forbidden_modules"]) == (["core"], ["plugins"])


def test_kinds_are_independent(contracts: dict[str, Any]) -> None:
    listed = set(contracts["kinds of plugin do not import each other"]["modules"])
    assert listed == {f"plugins.{kind}" for kind in KINDS} == modules(ROOT / "plugins")


def test_plugins_may_import_core_api_and_no_other_module(contracts: dict[str, Any]) -> None:
    forbidden = set(contracts["plugins import core.api only"]["forbidden_modules"])
    assert forbidden == modules(ROOT / "core") - {"core.api"}
