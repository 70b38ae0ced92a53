"""Which sets of weights may live together: one by one, whole blocks, or n of every m inputs.

A structure turns scores (see :mod:`plugins.masks.scores`) into a mask, or draws one at random.
A weight is a tensor ``[outputs, inputs]``, or of a convolution
``[outputs, channels, height, width]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from plugins.masks.random_masks import exact_mask
from plugins.masks.scores import highest, highest_of_each, refuse_nan, uniform_random

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 20
"""Entries ranked at a time."""


class Structure(Protocol):
    """Makes masks of one kind, boolean and on the CPU."""

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """A boolean mask of ``scores``' shape, on the CPU, that keeps about ``count`` weights.

        How near it comes to ``count`` is for each structure to say.

        Raises:
            ValueError: the shape does not fit the structure, ``count`` is not in [0, size],
                or a score is NaN.
        """

    def draw(self, shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
        """As :meth:`keep`, each mask that it could answer equally likely."""


@dataclass(frozen=True)
class Unstructured:
    """Any set of weights."""

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """The ``count`` highest scores; among equal ones the first."""
        return highest(scores, count)

    def draw(self, shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
        """Exactly ``count`` weights."""
        return exact_mask(math.prod(shape), count, generator).view(shape)


@dataclass(frozen=True)
class Blocks:
    """Whole blocks of ``side`` by ``side`` weights, aligned to multiples of ``side``.

    A convolution counts as the matrix ``[outputs, channels * height * width]``.
    """

    side: int = 16

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether both sides of the matrix are multiples of a block's."""
        outputs, inputs = _matrix(shape)
        return outputs % self.side == 0 and inputs % self.side == 0

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """The blocks of highest mean score: as many as come nearest to ``count`` weights.

        At least one, unless ``count`` is 0.
        """
        shape = tuple(scores.shape)
        rows, columns = self._grid(shape, count)
        means = scores.detach().reshape(rows, self.side, columns, self.side).mean((1, 3))
        return self._spread(highest(means, self._number(count)), shape)

    def draw(self, shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
        """As many blocks as come nearest to ``count`` weights; at least one, unless it is 0."""
        rows, columns = self._grid(shape, count)
        blocks = exact_mask(rows * columns, self._number(count), generator)
        return self._spread(blocks.view(rows, columns), shape)

    def _grid(self, shape: tuple[int, ...], count: int) -> tuple[int, int]:
        if not self.fits(shape):
            raise ValueError(f"blocks of {self.side} do not fill a weight {list(shape)}")
        if not 0 <= count <= math.prod(shape):
            raise ValueError(f"count must be in [0, {math.prod(shape)}], got {count}")
        outputs, inputs = _matrix(shape)
        return outputs // self.side, inputs // self.side

    def _number(self, count: int) -> int:
        return max(1, round(count / self.side**2)) if count else 0

    def _spread(self, blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The mask of this shape whose blocks ``[rows, columns]`` are given, True where kept."""
        rows, columns = blocks.shape
        wide = blocks[:, None, :, None].expand(rows, self.side, columns, self.side)
        return wide.reshape(shape)


@dataclass(frozen=True)
class Groups:
    """``n`` of every ``m`` consecutive inputs of each output.

    In a convolution the groups run over its input channels, apart for each position of the
    kernel, as in NVIDIA's ASP (apex, ``sparsity/sparse_masklib.py``). Where ``m`` does not
    divide the inputs, the last, shorter group keeps in proportion: the nearest number to
    ``n / m`` of its size, a half upwards, and at least one.
    """

    n: int
    m: int

    def kept(self, group: int) -> int:
        """How many of a group of this size live, in [1, group]."""
        return max(1, (2 * self.n * group + self.m) // (2 * self.m))

    def count(self, shape: tuple[int, ...]) -> int:
        """How many weights live in a weight of this shape."""
        outputs, inputs = _matrix(shape)
        channels = shape[1]
        full, rest = divmod(channels, self.m)
        line = full * self.n + (self.kept(rest) if rest else 0)
        return outputs * (inputs // channels) * line

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """The ``n`` highest of each group, among equal ones the first.

        The pattern says how many weights live (:meth:`count`), whatever ``count`` is.
        """
        refuse_nan(scores)
        return self._by_rows(tuple(scores.shape), lambda rows: scores[rows].detach().cpu())

    def draw(self, shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
        """``n`` of each group at random, whatever ``count`` is."""
        return self._by_rows(
            shape, lambda rows: uniform_random((rows.stop - rows.start, *shape[1:]), generator)
        )

    def _by_rows(self, shape: tuple[int, ...], scores: Callable[[slice], Tensor]) -> Tensor:
        """Some outputs at a time: indices of all together would take eight times the mask."""
        mask = torch.empty(shape, dtype=torch.bool)
        step = max(1, CHUNK // max(1, math.prod(shape[1:])))
        for start in range(0, shape[0], step):
            rows = slice(start, min(start + step, shape[0]))
            mask[rows] = self._of_lines(scores(rows).movedim(1, -1)).movedim(-1, 1)
        return mask

    def _of_lines(self, lines: Tensor) -> Tensor:
        """The mask of scores whose inputs come last, ``[..., inputs]``."""
        rest = lines.shape[-1] % self.m
        full = lines.shape[-1] - rest
        groups = lines[..., :full].reshape(*lines.shape[:-1], -1, self.m)
        kept = [highest_of_each(groups, self.n).flatten(-2)]
        if rest:
            kept.append(highest_of_each(lines[..., full:], self.kept(rest)))
        return torch.cat(kept, -1)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], math.prod(shape[1:])
