"""The compiled kernels for batches: their structures and calls."""

from __future__ import annotations

import ctypes
import functools
from ctypes import CDLL, c_int64, c_void_p
from typing import Final

from plugins.execution.compiled import Library, fields
from plugins.execution.pattern.index import NativePattern

ABI: Final = 2
"""``LINEAR_ABI`` of ``native/linear/linear.h``."""


class Link(ctypes.Structure):
    """One layer of a chain; pointers are addresses, 0 where there is nothing."""

    _fields_ = fields(
        (c_void_p, "layer weight bias weight_gradient bias_gradient"),
        (c_void_p, "input output input_gradient output_gradient"),
        (c_int64, "relu"),
    )


class Chain(ctypes.Structure):
    """A chain, its batch, and where that is."""

    _fields_ = fields(
        (c_void_p, "links"),
        (c_int64, "count batch lanes type threads"),
        (c_void_p, "x y dy dx scratch"),
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
