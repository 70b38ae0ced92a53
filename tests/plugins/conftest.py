"""Fixtures of the tests of plugins."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from ctypes import PyDLL
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plugins.execution import compiled
from plugins.execution.online import library
from plugins.losses import noise

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tape(monkeypatch):
    """Every draw of noise, in order, so that an oracle can use the same."""
    drawn: list[Tensor] = []
    generator = torch.Generator().manual_seed(7)

    def record(like: Tensor) -> Tensor:
        drawn.append(torch.randn(like.shape, generator=generator, dtype=torch.float64))
        return drawn[-1].to(like)

    monkeypatch.setattr(noise, "standard_normal", record)
    return drawn


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The compiled kernels of the sources as they are: those installed, if they are newer."""
    installed = next(compiled.FOLDER.glob("_online*.so"), None)
    sources = (compiled.FOLDER / "native").glob("*/*")
    if installed and installed.stat().st_mtime > max(file.stat().st_mtime for file in sources):
        found = library.LIBRARY.load()
        assert isinstance(found, PyDLL), found
        return found
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extensions = project["tool"]["setuptools"]["ext-modules"]
    (extension,) = [e for e in extensions if e["name"] == "plugins.execution._online"]
    file = tmp_path_factory.mktemp("native") / "rows.so"
    flags = [*extension["extra-compile-args"], "-fPIC", "-shared"]
    sources = [ROOT / source for source in extension["sources"]]
    subprocess.run([compiler, *flags, *sources, "-o", file], check=True)
    kernels = library.LIBRARY.declared(PyDLL(str(file)))
    assert isinstance(kernels, PyDLL)
    return kernels


@pytest.fixture(scope="module")
def find(request):
    """Choose the kernels from now on: ``compiled`` (at their best), ``avx2`` (or less), ``plain``."""
    patch = pytest.MonkeyPatch()
    levels, used = {"plain": 0, "avx2": 1}, []

    def use(kind):
        kernels = request.getfixturevalue("built")
        kernels.openwork_online_use(levels.get(kind, 99))
        used.append(kernels)
        patch.setattr(library, "kernels", lambda: kernels)

    yield use
    for kernels in used:
        kernels.openwork_online_use(99)
    patch.undo()
