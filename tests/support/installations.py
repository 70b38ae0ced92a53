"""Distributions as an installer leaves them: modules beside a dist-info folder."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest


def install(
    site: Path,
    name: str,
    version: str = "1.0",
    points: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
    *,
    editable: bool = False,
    requires: str | None = None,
) -> Path:
    """Write a distribution into ``site``; the path of its dist-info folder."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    needed = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}"
    )
    lines = [f"{point} = {value}" for point, value in (points or {}).items()]
    (info / "entry_points.txt").write_text("\n".join(["[openwork]", *lines, ""]))
    for module, text in (modules or {}).items():
        path = site / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    files = [*(modules or {}), *(f"{info.name}/{p.name}" for p in info.iterdir())]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    if editable:
        origin = {"url": f"file://{site}", "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))
    return info


@contextmanager
def on_path(*sites: Path) -> Iterator[None]:
    """Python finds what is installed there; what it imports meanwhile is forgotten after."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for site in reversed(sites):
            patch.syspath_prepend(site)
        importlib.invalidate_caches()
        yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if any(file.startswith(str(site)) for site in sites):
            del sys.modules[name]


def offering(*names: str, kind: str = "masks", more: str = "") -> str:
    """The text of a module that offers components of a kind."""
    return f"""
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    share: float = 0.5

def build(options, context):
    return None

@hookimpl
def register_{kind}():
    return [Component(name, Options, build, "a test's") for name in {names!r}]
{more}
"""
