"""Patterns of masks, made strip by strip: temporaries are as large as a few strips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plugins.execution.pattern.blocks16 import Blocks16
from plugins.execution.pattern.tiled_csr import TiledCSR
from plugins.execution.pattern.validate import SIDE

Bytes = NDArray[np.uint8]
STRIP = 1 << 22
"""Most entries of the matrix that are looked at in one go where blocks do not say."""


def tile_sizes(density: float) -> tuple[int, int]:
    """``(panel, block)`` for a matrix of this density: the sparser, the larger.

    A tile's activations fit the first or second cache, and its rows have a dozen entries or more.
    """
    size = 128 if density > 0.07 else 256
    return size, size


def pattern_of(mask: Tensor, tiles: tuple[int, int] | None = None) -> TiledCSR | Blocks16:
    """The pattern of a bool mask ``[N, K]``, True where an entry is kept.

    Whole blocks of 16 x 16 are recognised, unless ``tiles``, ``(panel, block)``, are given:
    these are for panels, by default those of :func:`tile_sizes`.

    Raises:
        ValueError: it is not such a mask, or keeps 2^31 entries or more.
    """
    if mask.ndim != 2 or mask.dtype is not torch.bool or not mask.numel():
        raise ValueError(f"a mask is bool [N, K], got {mask.dtype} {list(mask.shape)}")
    entries = mask.detach().cpu().contiguous().numpy().view(np.uint8)
    with torch.inference_mode(False):  # else the tensors would not count their changes
        if tiles is None and is_blocks(entries):
            return _of_blocks(entries)
        return _of_panels(entries, tiles)


def is_blocks(entries: Bytes) -> bool:
    """Whether a mask ``[N, K]`` consists of whole 16 x 16 blocks, kept or removed."""
    rows, columns = entries.shape
    if rows % SIDE or columns % SIDE:
        return False
    return all(
        bool((strip == strip[:, :1, :, :1]).all())
        for _, strip in _strips(entries, SIDE)
        for strip in [strip.reshape(-1, SIDE, columns // SIDE, SIDE)]
    )


def _strips(entries: Bytes, multiple: int) -> Iterator[tuple[int, Bytes]]:
    """Groups of rows, so many times ``multiple``, with the first's number."""
    rows, columns = entries.shape
    height = max(1, STRIP // (columns * multiple)) * multiple
    for first in range(0, rows, height):
        yield first, entries[first : first + height]


def _of_blocks(entries: Bytes) -> Blocks16:
    rows, columns = np.nonzero(entries[::SIDE, ::SIDE])
    height, width = entries.shape[0] // SIDE, entries.shape[1] // SIDE
    order = np.argsort(columns, kind="stable")
    _expect_few(len(rows) * SIDE**2)
    arrays = {
        "starts": _running(np.bincount(rows, minlength=height)),
        "columns": columns,
        "t_starts": _running(np.bincount(columns, minlength=width)),
        "t_rows": rows[order],
        "t_places": order,
    }
    tensors = {name: torch.from_numpy(a.astype(np.int32)) for name, a in arrays.items()}
    return Blocks16._trusted(entries.shape, (SIDE, SIDE), tensors)


def _of_panels(entries: Bytes, tiles: tuple[int, int] | None) -> TiledCSR:
    shape = rows, columns = entries.shape
    total = sum(int(np.count_nonzero(strip)) for _, strip in _strips(entries, 1))
    _expect_few(total)
    panel, block = tiles or tile_sizes(total / entries.size)
    if not (0 < panel <= 256 and 0 < block <= 256):
        raise ValueError(f"panels and row blocks are of 1 to 256, got {panel} and {block}")
    panels, blocks = -(-columns // panel), -(-rows // block)
    arrays: dict[str, Any] = {
        "starts": _starts(entries, panel),
        "columns": np.empty(total, np.uint8),
        "t_starts": np.empty((blocks, columns + 1), np.int32),
        "t_rows": np.empty(total, np.uint8),
        "t_places": np.empty(total, np.uint16),
    }
    padded = np.zeros((block, panels * panel), np.uint8)
    done = 0
    for index in range(blocks):
        strip = entries[index * block : (index + 1) * block]
        padded[len(strip) :] = 0
        np.not_equal(strip, 0, out=padded[: len(strip), :columns].view(bool))
        done = _fill(arrays, index * block, padded.reshape(block, panels, panel), done)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return TiledCSR._trusted(shape, (panel, block), tensors)


def _starts(entries: Bytes, panel: int) -> NDArray[np.int32]:
    """``[P, N + 1]``: where the entries of a row begin in each panel."""
    rows, columns = entries.shape
    cuts = np.arange(0, columns, panel)
    counts = np.empty((len(cuts), rows), np.int64)
    for first, strip in _strips(entries, 1):
        kept = np.add.reduceat(strip != 0, cuts, axis=1, dtype=np.int32)
        counts[:, first : first + len(strip)] = kept.T
    ends = np.cumsum(counts).reshape(counts.shape)
    return np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int32)


def _fill(arrays: dict[str, Any], first: int, strip: Bytes, done: int) -> int:
    """One row block ``[block, P, panel]``, padded with zeros; the entries done so far."""
    block, panels, panel = strip.shape
    starts, t_starts = arrays["starts"], arrays["t_starts"][first // block]
    height, columns = min(block, starts.shape[1] - 1 - first), t_starts.shape[-1] - 1
    # By tile, so that what is found comes in the order of the values.
    flat = np.flatnonzero(np.ascontiguousarray(strip.transpose(1, 0, 2)).view(bool))
    begins, ends = starts[:, first], starts[:, first + height]
    inside = _running(ends - begins)
    places = np.arange(len(flat)) - np.repeat(inside[:-1], ends - begins)
    for tile in range(panels):
        found = flat[inside[tile] : inside[tile + 1]]
        arrays["columns"][begins[tile] : ends[tile]] = found % panel
    by_entry = np.empty(strip.size, np.uint16)
    by_entry[flat] = places
    # Again by column, then row.
    flipped = np.ascontiguousarray(strip.transpose(1, 2, 0))
    flat = np.flatnonzero(flipped.view(bool))
    column, row = np.divmod(flat, block)
    here = slice(done, done + len(flat))
    arrays["t_rows"][here] = row
    tiles, columns_inside = np.divmod(column, panel)
    arrays["t_places"][here] = by_entry[(tiles * block + row) * panel + columns_inside]
    counts = np.bincount(column, minlength=panels * panel)[:columns]
    t_starts[:] = done + _running(counts)
    return here.stop


def _running(counts: NDArray[Any]) -> NDArray[np.int64]:
    """``[n]`` to ``[n + 1]``: the sum of those before."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _expect_few(count: int) -> None:
    if count >= 1 << 31:
        raise ValueError(f"at most 2^31 - 1 entries can be kept of a matrix, got {count}")
