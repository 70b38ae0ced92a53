"""Structures of masks, against loops over blocks and groups."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.masks import structures
from plugins.masks.structures import Blocks, Groups, Unstructured
from tests.plugins.masks.mask_schemes import best, rng

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 21)),
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)


def scores_of(shape, seed, levels=None):
    """Random ones; of few ``levels``, so that there are ties."""
    if levels is None:
        return torch.randn(shape, generator=rng(seed))
    return torch.randint(levels, shape, generator=rng(seed)).float()


@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=SHAPES, seed=st.integers(0, 999))
def test_unstructured_masks_are_any(data, shape, seed):
    count = data.draw(st.integers(0, math.prod(shape)))
    scores = scores_of(shape, seed, levels=4)
    assert np.array_equal(Unstructured().keep(scores, count).numpy(), best(scores, count))
    mask = Unstructured().draw(shape, count, rng(seed))
    assert mask.shape == shape
    assert int(mask.sum()) == count


# --- blocks -----------------------------------------------------------------------------


def blocks_by_hand(scores, count, side):
    """Means in double precision, the best blocks by sorting."""
    outputs = scores.shape[0]
    matrix = scores.double().numpy().reshape(outputs, -1)
    rows, columns = matrix.shape[0] // side, matrix.shape[1] // side
    means = np.array(
        [
            [
                matrix[r * side : (r + 1) * side, c * side : (c + 1) * side].mean()
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )
    number = max(1, round(count / side**2)) if count else 0
    return np.kron(best(means, number), np.ones((side, side), bool)).reshape(scores.shape)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    side=st.integers(2, 4),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    levels=st.sampled_from([None, 2]),
    seed=st.integers(0, 999),
)
def test_blocks_are_whole_and_the_best(data, side, rows, columns, levels, seed):
    shape = (rows * side, columns * side)
    if columns % 2 == 0:  # as a convolution
        shape = (shape[0], shape[1] // 2, 2, 1)
    count = data.draw(st.integers(0, math.prod(shape)))
    scores = scores_of(shape, seed, levels)
    mask = Blocks(side).keep(scores, count)
    assert np.array_equal(mask.numpy(), blocks_by_hand(scores, count, side))
    assert abs(int(mask.sum()) - count) <= max(side**2 / 2, side**2 * (count > 0) - count)


def test_random_blocks_are_whole_and_all_equally_likely():
    generator, seen = rng(), Counter()
    for _ in range(1500):
        mask = Blocks(3).draw((6, 9), 2 * 9, generator)
        corners = mask[::3, ::3]
        assert np.array_equal(mask.numpy(), np.kron(corners.numpy(), np.ones((3, 3), bool)))
        seen[tuple(corners.flatten().tolist())] += 1
    assert len(seen) == math.comb(6, 2)
    score = sum((n - 100) ** 2 / 100 for n in seen.values())
    assert score < 14 + 5 * math.sqrt(28)


def test_at_least_one_block_unless_nothing_is_to_live():
    assert int(Blocks(4).keep(torch.rand(8, 8), 1).sum()) == 16
    assert int(Blocks(4).draw((8, 8), 1, rng()).sum()) == 16
    assert not Blocks(4).keep(torch.rand(8, 8), 0).any()


@pytest.mark.parametrize("shape", [(8, 6), (6, 8), (8, 3, 2, 1), (1, 64)])
def test_blocks_refuse_what_they_do_not_fill(shape):
    assert not Blocks(4).fits(shape)
    with pytest.raises(ValueError, match="blocks of 4 do not fill a weight"):
        Blocks(4).keep(torch.rand(shape), 16)
    with pytest.raises(ValueError, match="blocks of 4 do not fill a weight"):
        Blocks(4).draw(shape, 16, rng())


@pytest.mark.parametrize("count", [-1, 65])
def test_blocks_refuse_counts_out_of_range(count):
    with pytest.raises(ValueError, match=r"count must be in \[0, 64\]"):
        Blocks(4).keep(torch.rand(8, 8), count)


def test_a_nan_in_a_block_is_refused():
    scores = torch.rand(8, 8)
    scores[3, 5] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        Blocks(4).keep(scores, 16)


# --- groups -----------------------------------------------------------------------------


def groups_of(shape, m):
    """Index tuples of the weights of each group, written out as loops."""
    outputs, inputs, *kernel = shape
    for output in range(outputs):
        for place in itertools.product(*(range(k) for k in kernel)):
            for start in range(0, inputs, m):
                yield [(output, i, *place) for i in range(start, min(start + m, inputs))]


def share(n, m, size):
    """What a group of this size keeps: nearest to ``n / m`` of it, a half up, at least one."""
    return max(1, math.floor(n * size / m + 0.5))


@settings(max_examples=50, deadline=None)
@given(
    data=st.data(),
    shape=SHAPES,
    m=st.integers(2, 8),
    levels=st.sampled_from([None, 3]),
    seed=st.integers(0, 999),
)
def test_every_group_keeps_its_highest(data, shape, m, levels, seed):
    n = data.draw(st.integers(1, m - 1))
    scores = scores_of(shape, seed, levels)
    mask = Groups(n, m).keep(scores, 0)
    drawn = Groups(n, m).draw(shape, 0, rng(seed))
    assert mask.shape == drawn.shape == shape
    total = 0
    for group in groups_of(shape, m):
        wanted = n if len(group) == m else share(n, m, len(group))
        assert [bool(mask[i]) for i in group] == best([scores[i] for i in group], wanted).tolist()
        assert sum(bool(drawn[i]) for i in group) == wanted
        total += wanted
    assert Groups(n, m).count(shape) == total == int(mask.sum())


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_groups_do_not_depend_on_the_chunks(chunk, monkeypatch):
    scores = scores_of((7, 12, 2, 2), 0, levels=3)
    whole = Groups(2, 5).keep(scores, 0)
    monkeypatch.setattr(structures, "CHUNK", chunk)
    assert torch.equal(Groups(2, 5).keep(scores, 0), whole)
    assert torch.equal(Groups(2, 5).draw((7, 12), 0, rng()).sum(1), torch.full((7,), 5))


def test_random_groups_are_all_equally_likely():
    mask = Groups(2, 4).draw((600, 12), 0, rng())
    seen = Counter(tuple(group) for group in mask.view(-1, 4).tolist())
    assert len(seen) == 6
    assert sum((n - 300) ** 2 / 300 for n in seen.values()) < 5 + 5 * math.sqrt(10)


def test_a_nan_in_a_group_is_refused():
    scores = torch.rand(4, 8)
    scores[3, 5] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        Groups(2, 4).keep(scores, 0)
