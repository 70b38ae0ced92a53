"""Memory for large batches, used again once nothing refers to it any more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KEPT = 6
"""Arrays kept at most: three pixel batches of two stacks each."""


class Outputs:
    """Makes uninitialised tensors of one shape on the CPU.

    Fresh memory for a pixel batch costs thousands of page faults, more than filling it. So
    arrays are kept, and one is handed out again when no tensor refers to it: a tensor made
    by ``torch.from_numpy``, and every view of it, holds a reference to its array, which the
    array's reference count shows. A batch that somebody still holds is never written to.
    """

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        # counted the same way as below, because interpreters differ by one
        self._idle = _references([np.empty(0)], 0)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor to be overwritten; another shape or dtype than before starts afresh."""
        number = np.dtype(str(dtype).removeprefix("torch."))
        if self._arrays and (self._arrays[0].shape, self._arrays[0].dtype) != (shape, number):
            self._arrays.clear()
        for index in range(len(self._arrays)):
            if _references(self._arrays, index) == self._idle:
                return torch.from_numpy(self._arrays[index])
        if len(self._arrays) == KEPT:
            return torch.empty(shape, dtype=dtype)
        self._arrays.append(np.empty(shape, dtype=number))
        return torch.from_numpy(self._arrays[-1])


def _references(arrays: Sequence[NDArray[Any]], index: int) -> int:
    return sys.getrefcount(arrays[index])
