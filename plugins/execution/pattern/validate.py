"""Whether index arrays are what a kernel may rely on: it reads and writes where they point.

Every check is a pass over the entries in NumPy; the temporaries are as large as a row block's
or a panel's share of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]
SIDE = 16
"""Rows and columns of a block, where whole blocks are kept."""


def validated_copy(
    tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]
) -> dict[str, Tensor]:
    """Copies of ``tensors``, which must be these, of these types, contiguous and on the CPU."""
    if set(tensors) != set(dtypes):
        raise ValueError(f"a pattern has {', '.join(dtypes)}; got {', '.join(tensors)}")
    for name, dtype in dtypes.items():
        tensor = tensors[name]
        _require(tensor.dtype is dtype, f"{name} must be {dtype}, got {tensor.dtype}")
        _require(tensor.is_cpu, f"{name} must be on the CPU, got {tensor.device}")
        _require(tensor.is_contiguous(), f"{name} must be contiguous")
    with torch.inference_mode(False):  # else the copies would not count their changes
        return {name: tensors[name].detach().clone() for name in dtypes}


def validate_panels(shape: tuple[int, int], panel: int, block: int, arrays: Arrays) -> None:
    """Raise ValueError unless ``arrays`` are a :class:`TiledCSR`'s."""
    outputs, inputs = _positive(shape)
    for name, size in (("panel", panel), ("block", block)):
        _require(0 < size <= 256, f"{name} must be in 1 to 256, got {size}")
    count = arrays["columns"].size
    _expect_shapes(
        arrays,
        {
            "starts": (-(-inputs // panel), outputs + 1),
            "columns": (count,),
            "t_starts": (-(-outputs // block), inputs + 1),
            "t_rows": (count,),
            "t_places": (count,),
        },
    )
    _expect_starts("starts", arrays["starts"], count)
    _expect_starts("t_starts", arrays["t_starts"], count)
    _expect_lines("columns", arrays["starts"], arrays["columns"], inputs, panel)
    _expect_lines("t_rows", arrays["t_starts"], arrays["t_rows"], outputs, block)
    for index in range(len(arrays["t_starts"])):
        _expect_places(index, arrays, panel, block)


def validate_blocks(shape: tuple[int, int], arrays: Arrays) -> None:
    """Raise ValueError unless ``arrays`` are a :class:`Blocks16`'s."""
    outputs, inputs = _positive(shape)
    _require(outputs % SIDE == 0 and inputs % SIDE == 0, f"shape must be of 16s, got {list(shape)}")
    rows, columns, count = outputs // SIDE, inputs // SIDE, arrays["columns"].size
    wanted = {"starts": (rows + 1,), "t_starts": (columns + 1,)}
    _expect_shapes(arrays, wanted | dict.fromkeys(("columns", "t_rows", "t_places"), (count,)))
    starts, t_starts = arrays["starts"][None], arrays["t_starts"][None]
    _expect_starts("starts", starts, count)
    _expect_starts("t_starts", t_starts, count)
    _expect_lines("columns", starts, arrays["columns"], columns, columns)
    _expect_lines("t_rows", t_starts, arrays["t_rows"], rows, rows)
    places, t_rows = arrays["t_places"], arrays["t_rows"]
    _expect_within("t_places", places, count)
    column = np.repeat(np.arange(columns), np.diff(arrays["t_starts"]))
    found = (places >= starts[0, t_rows]) & (places < starts[0, t_rows + 1])
    _expect_transpose(found & (arrays["columns"][places] == column))


def _expect_places(index: int, arrays: Arrays, panel: int, block: int) -> None:
    """Of one row block: the places lie in their tiles, and lead to the entries themselves."""
    starts, t_starts = arrays["starts"], arrays["t_starts"][index]
    here = slice(int(t_starts[0]), int(t_starts[-1]))
    column = np.repeat(np.arange(len(t_starts) - 1), np.diff(t_starts))
    tile, inside = np.divmod(column, panel)
    first = index * block
    row = first + arrays["t_rows"][here].astype(np.int64)
    end = min(first + block, starts.shape[1] - 1)
    value = starts[tile, first] + arrays["t_places"][here].astype(np.int64)
    _require(
        bool((value < starts[tile, end]).all()),
        f"t_places: out of range in row block {index}: a place outside its tile",
    )
    found = (value >= starts[tile, row]) & (value < starts[tile, row + 1])
    _expect_transpose(found & (arrays["columns"][value] == inside))


def _expect_lines(
    name: str, starts: NDArray[Any], numbers: NDArray[Any], size: int, cut: int
) -> None:
    """Of every line (a row in a panel, a column in a row block) the numbers rise.

    ``size`` are cut into groups of ``cut``, one to each row of ``starts``.
    """
    for group, ends in enumerate(starts):
        line = numbers[ends[0] : ends[-1]]
        _expect_within(name, line, min(cut, size - group * cut))
        rises = line[1:] > line[:-1]
        # What follows a line's last entry begins another.
        begins = ends[(ends > ends[0]) & (ends < ends[-1])] - ends[0] - 1
        rises[begins] = True
        if not rises.all():
            at = int(np.argmin(rises))
            twice = line[at] == line[at + 1]
            problem = f"{line[at]} twice" if twice else f"{line[at + 1]} after {line[at]}"
            raise ValueError(f"{name}: {'duplicate' if twice else 'unsorted'}: {problem} in a line")


def _expect_starts(name: str, starts: NDArray[Any], count: int) -> None:
    """Ranges follow one another without gaps, from 0 to ``count``."""
    _require(bool((starts[:, 1:] >= starts[:, :-1]).all()), f"{name}: unsorted: a range ends early")
    _require(
        bool((starts[1:, 0] == starts[:-1, -1]).all()),
        f"{name}: inconsistent: a tile does not begin where the one before ends",
    )
    _require(
        int(starts[0, 0]) == 0 and int(starts[-1, -1]) == count,
        f"{name}: inconsistent: it counts from {starts[0, 0]} to {starts[-1, -1]}, "
        f"there are {count} entries",
    )


def _expect_within(name: str, numbers: NDArray[Any], size: int) -> None:
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < size):
        worst = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(f"{name}: out of range: {worst}, must be in [0, {size})")


def _expect_transpose(found: NDArray[np.bool_]) -> None:
    _require(
        bool(found.all()),
        "the transposed index (t_starts, t_rows, t_places) is not that of the same entries",
    )


def _expect_shapes(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        got = arrays[name].shape
        _require(got == shape, f"{name}: wrong length: must be {list(shape)}, got {list(got)}")


def _positive(shape: tuple[int, int]) -> tuple[int, int]:
    _require(
        len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape),
        f"shape must be two positive numbers, got {shape}",
    )
    return shape


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
