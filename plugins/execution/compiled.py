"""The compiled libraries of ``native/``, built when the package is installed.

Plain C interfaces, called through ctypes. What is missing is as good as absent: whoever asks
says what is lost and goes on without.
"""

from __future__ import annotations

from ctypes import CDLL, PyDLL
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def library(stem: str, *, holds_lock: bool = False) -> CDLL | str:
    """The library ``stem`` beside this file, or what is wrong.

    With ``holds_lock`` its calls keep the interpreter's lock: for calls of microseconds.
    """
    paths = [Path(__file__).with_name(stem + suffix) for suffix in EXTENSION_SUFFIXES]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        return "were not built"
    try:
        return PyDLL(str(found)) if holds_lock else CDLL(str(found))
    except OSError as error:
        return f"cannot be loaded ({error})"
