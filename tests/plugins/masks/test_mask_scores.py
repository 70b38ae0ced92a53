"""Scores of weights, and the choice of the highest, against plain sorting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.masks import scores
from plugins.masks.scores import (
    gradient_magnitude,
    highest,
    highest_of_each,
    magnitude,
    saliency,
    uniform_random,
)
from tests.plugins.masks.mask_schemes import best, rng

FEW = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, math.inf, -math.inf, 1e-30])
ANY = st.floats(width=32, allow_nan=False)


def test_scores_are_the_formulas():
    weight = torch.tensor([[-2.0, 0.5], [0.0, 3.0]], requires_grad=True)
    gradient = torch.tensor([[0.5, -4.0], [7.0, 0.0]])
    assert magnitude(weight).tolist() == [[2.0, 0.5], [0.0, 3.0]]
    assert saliency(weight, gradient).tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert gradient_magnitude(gradient).tolist() == [[0.5, 4.0], [7.0, 0.0]]
    for score in (magnitude(weight), saliency(weight, gradient)):
        assert not score.requires_grad
    assert weight.tolist() == [[-2.0, 0.5], [0.0, 3.0]]


def test_random_scores_are_uniform_and_of_the_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, same, other = (uniform_random((50, 40), rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (50, 40)
    observed = torch.histc(one, 10, 0, 1)
    assert ((observed - 200) ** 2 / 200).sum() < 9 + 5 * math.sqrt(18)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_highest_are_those_of_a_sort(data):
    values = data.draw(st.lists(st.one_of(FEW, ANY), min_size=1, max_size=60))
    wanted = data.draw(st.integers(0, len(values)))
    mask = highest(torch.tensor(values), wanted)
    assert mask.dtype == torch.bool
    assert mask.tolist() == best(np.float32(values), wanted).tolist()


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_ties_go_to_the_first_whatever_the_chunks(chunk, monkeypatch):
    monkeypatch.setattr(scores, "CHUNK", chunk)
    values = torch.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [2.0, 1.0, 1.0]])
    assert highest(values, 4).int().tolist() == [[1, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert highest(torch.zeros(50), 20).tolist() == [True] * 20 + [False] * 30


def test_the_order_of_a_view_is_its_own():
    values = torch.arange(12.0).view(3, 4).T
    assert torch.equal(highest(values, 4), values >= 8)
    equal = highest(torch.ones(3, 4).T, 5)
    assert equal.flatten().tolist() == [True] * 5 + [False] * 7
    assert equal.is_contiguous()


def test_scores_are_left_as_they_are():
    values = torch.randn(40, 30, generator=rng())
    before = values.clone()
    highest(values, 100)
    assert torch.equal(values, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_of_float(dtype):
    values = torch.tensor([3.0, -1.0, 7.0, 0.5], dtype=dtype)
    assert highest(values, 2).tolist() == [True, False, True, False]


def test_doubles_keep_their_order():
    values = torch.tensor([1.0, 1.0 + 1e-12, 1.0 - 1e-12], dtype=torch.float64)
    assert highest(values, 1).tolist() == [False, True, False]


@pytest.mark.parametrize("wanted", [-1, 5])
def test_counts_out_of_range(wanted):
    with pytest.raises(ValueError, match=r"count must be in \[0, 4\], got"):
        highest(torch.zeros(4), wanted)


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_nan_is_refused(wanted):
    with pytest.raises(ValueError, match="some are NaN"):
        highest(torch.tensor([1.0, math.nan, 2.0]), wanted)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), lines=st.integers(1, 6), size=st.integers(1, 9))
def test_each_line_has_its_own_count(data, lines, size):
    line = st.lists(st.one_of(FEW, ANY), min_size=size, max_size=size)
    values = data.draw(st.lists(line, min_size=lines, max_size=lines))
    counts = data.draw(st.lists(st.integers(0, size), min_size=lines, max_size=lines))
    mask = highest_of_each(torch.tensor(values), torch.tensor(counts))
    expected = [best(np.float32(v), c).tolist() for v, c in zip(values, counts, strict=True)]
    assert mask.tolist() == expected


def test_one_count_serves_all_lines():
    mask = highest_of_each(torch.tensor([[[3.0, 1.0, 2.0]], [[1.0, 1.0, 1.0]]]), 2)
    assert mask.int().tolist() == [[[1, 0, 1]], [[1, 1, 0]]]
