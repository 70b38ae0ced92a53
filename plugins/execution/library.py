"""The compiled kernels for one row of ``native/``: their structures, and loading them.

They are built when the package is installed, where there is a C++ compiler, and called
through ctypes. What is missing, or does not fit these structures, is as good as absent.
"""

from __future__ import annotations

import functools
import warnings
from ctypes import (
    CDLL,
    Structure,
    c_double,
    c_float,
    c_int64,
    c_size_t,
    c_void_p,
    sizeof,
)

from core.api import library as compiled

ABI = 4
"""As in ``native/rows.h``; raised with every change of a structure or of what a call does."""


class Step(Structure):
    """``struct Step`` of ``native/rows.h``; pointers are addresses, 0 where there is nothing."""

    _fields_ = (
        ("kind", c_int64),
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("offset", c_int64),
        ("count", c_int64),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("weight_mask", c_void_p),
        ("bias_mask", c_void_p),
        ("structure", c_void_p),
        ("input", c_void_p),
        ("output", c_void_p),
        ("input_gradient", c_void_p),
        ("output_gradient", c_void_p),
        ("normal", c_void_p),
        ("partial", c_void_p),
        ("norms", c_void_p),
        ("slices", c_int64),
        ("threads", c_int64),
        ("add", c_int64),
        ("scale", c_double),
        ("epsilon", c_float),
        ("slope", c_float),
    )


class Network(Structure):
    """``struct Network``: the steps, where input, output and gradients are, and a pending move."""

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


@functools.cache
def rows() -> CDLL | None:
    """The kernels for one observation at a time, or None, with one warning per process."""
    found = _found()
    if isinstance(found, CDLL):
        return found
    warnings.warn(
        f"compiled kernels {found}: one observation at a time runs on NumPy, about 2 times "
        "slower at width 128 and 3 times at 512. Install a C++ compiler, then install openwork "
        "again",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def missing() -> str | None:
    """None if the kernels can be used, else what is wrong with them."""
    found = _found()
    return found if isinstance(found, str) else None


def _found() -> CDLL | str:
    """The library beside this file, or what is wrong with it."""
    # A call takes microseconds, too short to hand the interpreter's lock around.
    found = compiled(__file__, "_rows", holds_lock=True)
    return found if isinstance(found, str) else declared(found)


def declared(kernels: CDLL) -> CDLL | str:
    """``kernels`` with its calls declared, or what is wrong with it."""
    try:
        kernels.openwork_rows_abi.argtypes = [c_size_t, c_size_t]
        kernels.openwork_rows_abi.restype = c_int64
        if kernels.openwork_rows_abi(sizeof(Step), sizeof(Network)) != ABI:
            return "are of another version"
        kernels.openwork_rows_use.argtypes = [c_int64]
        kernels.openwork_rows_use.restype = c_int64
        kernels.openwork_rows_forward.argtypes = [c_void_p, c_void_p, c_void_p]
        kernels.openwork_rows_forward.restype = None
        kernels.openwork_rows_accumulate.argtypes = [c_void_p, c_void_p, c_void_p, c_float]
        kernels.openwork_rows_accumulate.restype = c_double
        kernels.openwork_rows_move.argtypes = [c_void_p, c_void_p, c_float]
        kernels.openwork_rows_move.restype = None
    except AttributeError as error:
        return f"cannot be loaded ({error})"
    return kernels
