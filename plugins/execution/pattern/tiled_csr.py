"""Which entries of a matrix are kept, one by one: rows of short column numbers, in panels.

An activation of 64 to 256 features fits the nearest cache, so a matrix is cut into panels of
so many columns, and within one a column number takes a byte. Rows are cut into blocks, for the
same in the backward pass. Values lie by panel, then row, then column, so that a tile (a panel
of a row block) is one stretch of them, and the transposed index finds a value by its place in
its tile, which takes two bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from plugins.execution.pattern.index import Pattern, reduced
from plugins.execution.pattern.validate import validate_panels, validated_copy


@final
class TiledCSR(Pattern):
    """Kept entries of a matrix ``[N, K]`` in panels and row blocks.

    ``P = ceil(K / panel)`` panels, ``R = ceil(N / block)`` row blocks; all tensors are
    contiguous and on the CPU:

    - ``starts`` int32 ``[P, N + 1]``: row i has in panel p the entries from ``starts[p, i]``
      to ``starts[p, i + 1]``;
    - ``columns`` uint8 ``[nnz]``: column within the panel;
    - ``t_starts`` int32 ``[R, K + 1]``: column k has in row block r the entries from
      ``t_starts[r, k]`` to ``t_starts[r, k + 1]`` of the transposed index;
    - ``t_rows`` uint8 ``[nnz]``: row within the row block;
    - ``t_places`` uint16 ``[nnz]``: which of its tile's values it is; that of the whole is
      ``starts[k // panel, r * block] + t_places``.
    """

    kind = 0
    dtypes: ClassVar = {
        "starts": torch.int32,
        "columns": torch.uint8,
        "t_starts": torch.int32,
        "t_rows": torch.uint8,
        "t_places": torch.uint16,
    }

    def __init__(
        self, shape: tuple[int, int], panel: int, block: int, tensors: dict[str, Tensor]
    ) -> None:
        """From ``tensors`` by the names above; they are copied, and checked in every entry.

        Raises:
            ValueError: something in them is wrong; the message says what.
        """
        copies = validated_copy(tensors, self.dtypes)
        validate_panels(shape, panel, block, {n: t.numpy() for n, t in copies.items()})
        self._settle(shape, (panel, block), copies)

    def positions(self) -> Tensor:
        """``[nnz]`` int64: the place of every value in the matrix, flat and row-major."""
        starts = self.starts.numpy()
        rows, inputs = self.shape
        firsts = np.arange(len(starts))[:, None] * self.panel + np.arange(rows) * inputs
        spread = np.repeat(firsts.ravel(), np.diff(starts).ravel())
        spread += self.columns.numpy()
        return torch.from_numpy(spread)

    def ranks(self) -> Tensor:
        """``[nnz]`` int64: the place of every value among all in row-major order."""
        starts = self.starts.numpy()
        counts = np.diff(starts)
        by_row = counts.T.ravel()
        firsts = (np.cumsum(by_row) - by_row).reshape(counts.T.shape).T
        spread = np.repeat((firsts - starts[:, :-1]).ravel(), counts.ravel())
        spread += np.arange(self.nnz)
        return torch.from_numpy(spread)

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self, tuple(self.shape), self.panel, self.block)
