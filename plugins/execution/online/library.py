"""The compiled kernels for one observation: their structures and calls."""

from __future__ import annotations

import functools
from ctypes import CDLL, Structure, c_double, c_float, c_int64, c_void_p
from typing import Final

from plugins.execution.compiled import Library, fields, warn

ABI: Final = 5
"""``ONLINE_ABI`` of ``native/online/online.h``."""


class Step(Structure):
    """``struct Step``; pointers are addresses, 0 where there is nothing."""

    _fields_ = fields(
        (c_int64, "kind inputs outputs offset count"),
        (c_void_p, "weight bias weight_mask bias_mask pattern input output"),
        (c_void_p, "input_gradient output_gradient normal partial norms"),
        (c_int64, "slices threads add"),
        (c_double, "scale"),
        (c_float, "epsilon slope"),
    )


class Network(Structure):
    """``struct Network``: the steps, where input, output and gradients are."""

    _fields_ = (
        ("steps", c_void_p),
        ("count", c_int64),
        ("input", c_void_p),
        ("inputs", c_int64),
        ("output", c_void_p),
        ("outputs", c_int64),
        ("gradients", c_void_p),
        ("gradient_count", c_int64),
        ("output_gradients", c_void_p),
        ("other", c_int64),
    )


LIBRARY: Final = Library(
    "online",
    ABI,
    (Step, Network),
    {
        "forward": (None, c_void_p, c_void_p, c_void_p),
        "accumulate": (c_double, c_void_p, c_void_p, c_void_p, c_float),
        "move": (None, c_void_p, c_void_p, c_float),
    },
    holds_lock=True,
)


@functools.cache
def _found() -> CDLL | str:
    return LIBRARY.load()


def missing() -> str | None:
    """None if the kernels can be used, else what is wrong with them."""
    found = _found()
    return found if isinstance(found, str) else None


def kernels() -> CDLL | None:
    """The kernels for one observation at a time, or None, with one warning per process."""
    found = _found()
    if isinstance(found, CDLL):
        return found
    warn(
        found,
        "one observation at a time runs on PyTorch, 7 to 9 times slower at widths of 128 to 512",
    )
    return None
