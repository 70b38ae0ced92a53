"""The compiled kernels for batches: their structures, and finding and loading them."""

from __future__ import annotations

import ctypes
import functools
from ctypes import CDLL, c_int64, c_size_t, c_void_p, sizeof
from typing import Final

from plugins.execution.compiled import library
from plugins.execution.pattern.index import Indexed, SparseLayer

ABI: Final = 1
"""As in ``native/linear/linear.h``; raised with every change of a structure or call."""

_PROBLEMS: Final = {
    1: "shape, panel or block out of range",
    2: "starts do not rise from 0 to the count",
    3: "a column out of range or not sorted",
    4: "t_starts do not rise from 0 to the count",
    5: "a transposed row out of range or not sorted",
    6: "a transposed place out of range or of another entry",
}


class Link(ctypes.Structure):
    """One layer of a chain; pointers are addresses, 0 where there is nothing."""

    _fields_ = (
        ("layer", c_void_p),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("weight_gradient", c_void_p),
        ("bias_gradient", c_void_p),
        ("input", c_void_p),
        ("output", c_void_p),
        ("input_gradient", c_void_p),
        ("output_gradient", c_void_p),
        ("relu", c_int64),
    )


class Chain(ctypes.Structure):
    """A chain, its batch, and where that is."""

    _fields_ = (
        ("links", c_void_p),
        ("count", c_int64),
        ("batch", c_int64),
        ("lanes", c_int64),
        ("type", c_int64),
        ("threads", c_int64),
        ("x", c_void_p),
        ("y", c_void_p),
        ("dy", c_void_p),
        ("dx", c_void_p),
        ("scratch", c_void_p),
    )


def available() -> str | None:
    """None if the kernels can be used, else what is wrong with them."""
    found = _library()
    return found if isinstance(found, str) else None


def use(level: int) -> int:
    """For tests: the instruction set of this number (0 baseline), or the best if that is lower.

    Returns which it is now.
    """
    return int(loaded().openwork_sparse_use(level))


def malformed(structure: Indexed) -> str | None:
    """What is wrong with an index structure, or None: every entry is looked at, in C."""
    code = loaded().openwork_sparse_validate(structure.address)
    return None if code == 0 else _PROBLEMS.get(code, f"problem {code}")


@functools.cache
def _library() -> CDLL | str:
    """The library, its calls declared, or what is wrong with it."""
    found = library("_linear")
    return found if isinstance(found, str) else declared(found)


def loaded() -> CDLL:
    """The library.

    Raises:
        RuntimeError: it cannot be used (:func:`available`).
    """
    found = _library()
    if isinstance(found, str):
        raise RuntimeError(f"the compiled kernels {found}")
    return found


def declared(found: CDLL) -> CDLL | str:
    """``found`` with its calls declared, or what is wrong with it."""
    try:
        found.openwork_sparse_abi.argtypes = [c_size_t, c_size_t, c_size_t]
        found.openwork_sparse_abi.restype = c_int64
        if found.openwork_sparse_abi(sizeof(SparseLayer), sizeof(Link), sizeof(Chain)) != ABI:
            return "are of another version"
        for name, result in (("use", c_int64), ("validate", c_int64)):
            getattr(found, f"openwork_sparse_{name}").restype = result
        found.openwork_sparse_use.argtypes = [c_int64]
        for name in ("validate", "forward", "backward"):
            getattr(found, f"openwork_sparse_{name}").argtypes = [c_void_p]
        for name in ("forward", "backward"):
            getattr(found, f"openwork_sparse_{name}").restype = None
    except AttributeError as error:
        return f"cannot be used ({error})"
    return found
