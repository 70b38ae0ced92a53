"""The compiled kernels for batches: their structures and calls."""

from __future__ import annotations

import ctypes
import functools
from ctypes import CDLL, c_int64, c_void_p
from typing import Final

from plugins.execution.compiled import Library
from plugins.execution.pattern.index import NativePattern

ABI: Final = 2
"""``LINEAR_ABI`` of ``native/linear/linear.h``."""


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


LIBRARY: Final = Library(
    "linear",
    ABI,
    (NativePattern, Link, Chain),
    {"forward": (None, c_void_p), "backward": (None, c_void_p)},
)


@functools.cache
def _found() -> CDLL | str:
    return LIBRARY.load()


def available() -> str | None:
    """None if the kernels can be used, else what is wrong with them."""
    found = _found()
    return found if isinstance(found, str) else None


def loaded() -> CDLL:
    """The kernels.

    Raises:
        RuntimeError: they cannot be used (:func:`available`).
    """
    found = _found()
    if isinstance(found, str):
        raise RuntimeError(f"the compiled kernels {found}")
    return found
