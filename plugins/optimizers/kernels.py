"""The compiled kernel of ``native/adam.cpp``: its structures, and loading it.

It is built when the package is installed, where there is a C++ compiler, and called through
ctypes. What is missing, or does not fit these structures, is as good as absent.
"""

from __future__ import annotations

import functools
import warnings
from ctypes import CDLL, Structure, c_double, c_int64, c_size_t, c_void_p, sizeof

from core.api import library

ABI = 1
"""As in ``native/adam.cpp``; raised with every change of a structure or of what a call does."""
FIELDS = 6
"""Words of 64 bits by which a parameter is described: addresses of weight, first and second
moment, target (or 0) and count of steps; and how many entries it has."""


class Rule(Structure):
    """What all parameters of a group have in common."""

    _fields_ = (
        ("lr", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("decay", c_double),
        ("tau", c_double),
        ("decoupled", c_int64),
        ("is_double", c_int64),
    )


@functools.cache
def adam() -> CDLL | None:
    """The kernel, or None, with one warning per process."""
    found = library(__file__, "_adam")
    if isinstance(found, CDLL):
        found = declared(found)
    if isinstance(found, CDLL):
        return found
    warnings.warn(
        f"compiled optimizer {found}: Adam and target averages run on PyTorch's own kernels, to "
        "the same numbers, but read the weights twice. Install a C++ compiler, then install "
        "openwork again",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def declared(kernels: CDLL) -> CDLL | str:
    """``kernels`` with its calls declared, or what is wrong with it."""
    try:
        kernels.openwork_adam_abi.argtypes = [c_size_t, c_size_t]
        kernels.openwork_adam_abi.restype = c_int64
        kernels.openwork_adam_use.argtypes = [c_int64]
        kernels.openwork_adam_use.restype = c_int64
        kernels.openwork_adam_step.argtypes = [c_void_p, c_void_p, c_int64, c_void_p, c_int64]
        kernels.openwork_adam_step.restype = None
    except AttributeError as error:
        return f"cannot be loaded ({error})"
    fits = kernels.openwork_adam_abi(FIELDS * sizeof(c_void_p), sizeof(Rule)) == ABI
    return kernels if fits else "are of another version"
