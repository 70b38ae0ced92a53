"""Which blocks of 16 x 16 entries of a matrix are kept, each whole."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from plugins.execution.pattern.index import Pattern, reduced
from plugins.execution.pattern.validate import SIDE, validate_blocks, validated_copy


@final
class Blocks16(Pattern):
    """Kept blocks of a matrix ``[N, K]``, both multiples of 16.

    Values lie by block, then output, then input, ``[blocks, 16, 16]`` flat; blocks by block
    row, then block column. All tensors are contiguous, int32 and on the CPU:

    - ``starts`` ``[N / 16 + 1]``: block row i has the blocks ``starts[i]`` to ``starts[i + 1]``;
    - ``columns`` ``[blocks]``: their block columns;
    - ``t_starts`` ``[K / 16 + 1]``: block column k has so many entries of the transposed index;
    - ``t_rows`` ``[blocks]``: their block rows;
    - ``t_places`` ``[blocks]``: which block it is.
    """

    kind = 1
    each = SIDE**2
    dtypes: ClassVar = dict.fromkeys(
        ("starts", "columns", "t_starts", "t_rows", "t_places"), torch.int32
    )

    def __init__(self, shape: tuple[int, int], tensors: dict[str, Tensor]) -> None:
        """From ``tensors`` by the names above; they are copied, and checked in every entry.

        Raises:
            ValueError: something in them is wrong; the message says what.
        """
        copies = validated_copy(tensors, self.dtypes)
        validate_blocks(shape, {name: tensor.numpy() for name, tensor in copies.items()})
        self._settle(shape, (SIDE, SIDE), copies)

    def positions(self) -> Tensor:
        """``[nnz]`` int64: the place of every value in the matrix, flat and row-major."""
        inputs = self.shape[1]
        rows = self._rows()
        corners = rows * (SIDE * inputs) + self.columns.numpy().astype(np.int64) * SIDE
        inside = np.arange(SIDE)[:, None] * inputs + np.arange(SIDE)
        return torch.from_numpy(np.add.outer(corners, inside).ravel())

    def ranks(self) -> Tensor:
        """``[nnz]`` int64: the place of every value among all in row-major order."""
        starts = self.starts.numpy().astype(np.int64)
        rows = self._rows()
        firsts = starts[rows] * SIDE**2 + (np.arange(len(rows)) - starts[rows]) * SIDE
        lines = np.multiply.outer(np.diff(starts)[rows] * SIDE, np.arange(SIDE))
        return torch.from_numpy(np.add.outer(firsts[:, None] + lines, np.arange(SIDE)).ravel())

    def _rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Block row of every block."""
        starts = self.starts.numpy()
        return np.repeat(np.arange(len(starts) - 1), np.diff(starts))

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self, tuple(self.shape))
