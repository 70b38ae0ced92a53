"""The compiled libraries of ``native/``: finding, loading, and whether they fit.

They are built when the package is installed, where there is a C++ compiler, and called through
ctypes. What is missing, or was built from other sources, is as good as absent.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from ctypes import CDLL, PyDLL, Structure, c_int64, c_size_t, sizeof
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def fields(*groups: tuple[type[Any], str]) -> list[tuple[str, type[Any]]]:
    """``_fields_`` of a C structure: names in their order, in groups of one type."""
    return [(name, kind) for kind, names in groups for name in names.split()]


@functools.cache
def warn(missing: str, lost: str) -> None:
    """Say once per process what is lost without a library, given what is wrong with it."""
    warnings.warn(
        f"compiled kernels {missing}: {lost}. Install a C++ compiler, then install openwork again",
        RuntimeWarning,
        stacklevel=3,
    )


@dataclass(frozen=True)
class Library:
    """What Python expects of a library: plain C calls ``openwork_STEM_CALL``."""

    stem: str
    abi: int
    """As in its header; raised with every change of a structure, or of what a call does."""
    structures: tuple[type[Structure], ...]
    """Mirrored here; the library compares their sizes with its own."""
    calls: Mapping[str, tuple[Any, ...]]
    """What each gives, then what it takes."""
    holds_lock: bool = False
    """Calls keep the interpreter's lock: they take microseconds, too short to hand it around."""

    def load(self) -> CDLL | str:
        """The library, its calls declared, or what is wrong with it."""
        paths = [FOLDER / f"_{self.stem}{suffix}" for suffix in EXTENSION_SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return "were not built"
        try:
            return self.declared(PyDLL(str(path)) if self.holds_lock else CDLL(str(path)))
        except OSError as error:
            return f"cannot be loaded ({error})"

    def declared(self, found: CDLL) -> CDLL | str:
        """``found`` with its calls declared, or what is wrong with it."""
        sizes = [sizeof(structure) for structure in self.structures]
        own = {"abi": (c_int64, *[c_size_t] * len(sizes)), "use": (c_int64, c_int64)}
        try:
            for name, (result, *arguments) in (own | dict(self.calls)).items():
                call = getattr(found, f"openwork_{self.stem}_{name}")
                call.restype, call.argtypes = result, arguments
        except AttributeError as error:
            return f"cannot be loaded ({error})"
        abi = getattr(found, f"openwork_{self.stem}_abi")
        return found if abi(*sizes) == self.abi else "are of another version"
