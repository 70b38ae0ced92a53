"""Small-world kernels, against distances on the ring and what chance must give."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import OptionError, UserError
from plugins.masks import small_world as module
from plugins.masks.densities import erdos_renyi, expected_densities, uniform
from plugins.masks.options import SmallWorldOptions
from plugins.masks.small_world import ring, small_world
from tests.plugins.masks.mask_schemes import SMALL, build, count, drawn, rng, weights

SIDES = st.integers(1, 14)


def distances(output, outputs, inputs):
    """From an output to every input on a ring of length ``inputs``, exactly."""
    place = Fraction(output * inputs, outputs)
    apart = [abs(j - place) % inputs for j in range(inputs)]
    return [min(d, inputs - d) for d in apart]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), outputs=SIDES, inputs=SIDES, seed=st.integers(0, 99))
def test_without_rewiring_each_output_has_the_inputs_nearest_to_it(data, outputs, inputs, seed):
    number = data.draw(st.integers(1, outputs * inputs))
    mask = small_world(outputs, inputs, number, 0.0, rng(seed))
    assert mask.shape == (outputs, inputs)
    assert int(mask.sum()) == number
    for output, row in enumerate(mask.tolist()):
        fan_in = sum(row)
        assert fan_in in (number // outputs, -(-number // outputs))
        apart = distances(output, outputs, inputs)
        chosen = sorted(d for d, live in zip(apart, row, strict=True) if live)
        assert chosen == sorted(apart)[:fan_in]


def test_a_ring_by_hand():
    mask = ring(torch.arange(4), 4, 8, torch.tensor([3, 2, 3, 4]))
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 1, 1],
    ]


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    outputs=SIDES,
    inputs=SIDES,
    rewiring=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_rewiring_keeps_the_count_of_every_output(data, outputs, inputs, rewiring, seed):
    number = data.draw(st.integers(1, outputs * inputs))
    lattice, mask = (small_world(outputs, inputs, number, p, rng(seed)) for p in (0.0, rewiring))
    assert torch.equal(lattice.sum(1), mask.sum(1))  # so that no connection fell on another


def moved(rewiring, outputs=400, inputs=300, fan_in=30):
    """Which of the lattice's connections are gone."""
    lattice, mask = (
        small_world(outputs, inputs, outputs * fan_in, p, rng(4)) for p in (0.0, rewiring)
    )
    return lattice, mask, int((lattice & ~mask).sum())


@pytest.mark.parametrize("rewiring", [0.05, 0.3, 1.0])
def test_as_many_move_as_chance_says(rewiring):
    lattice, mask, gone = moved(rewiring)
    edges = int(lattice.sum())
    # of those that leave, some come back: they are drawn from the free places, 270 and those left
    per_row = 30 * rewiring
    expected = edges * rewiring * (1 - per_row / (270 + per_row))
    assert gone == pytest.approx(expected, abs=5 * math.sqrt(edges * rewiring) + 0.003 * expected)
    far = (mask & ~lattice).float()
    by_distance = [0.0] * 4
    for output in range(0, 400, 4):
        order = np.argsort([float(d) for d in distances(output, 400, 300)], kind="stable")[30:]
        quarters = np.array_split(far[output].numpy()[order], 4)
        by_distance = [a + b.sum() for a, b in zip(by_distance, quarters, strict=True)]
    mean = sum(by_distance) / 4
    assert all(abs(n - mean) < 5 * math.sqrt(mean) for n in by_distance)  # as likely near as far


def test_all_rewired_is_a_uniform_choice_of_each_outputs_inputs():
    generator, seen = rng(), Counter()
    for _ in range(300):
        for row in small_world(5, 6, 10, 1.0, generator).tolist():
            seen[tuple(row)] += 1
    assert len(seen) == 15
    assert sum((n - 100) ** 2 / 100 for n in seen.values()) < 14 + 5 * math.sqrt(28)


def test_where_an_input_too_many_goes_is_drawn():
    one, other = (small_world(40, 10, 60, 0.0, rng(seed)).sum(1) for seed in (0, 1))
    assert sorted(one.tolist()) == [1] * 20 + [2] * 20
    assert not torch.equal(one, other)


@pytest.mark.parametrize("chunk", [1, 37, 10**6])
def test_chunks_change_nothing_but_the_draws(chunk, monkeypatch):
    whole = small_world(31, 12, 100, 0.0, rng())
    monkeypatch.setattr(module, "CHUNK", chunk)
    assert torch.equal(small_world(31, 12, 100, 0.0, rng()), whole)
    assert int(small_world(31, 12, 100, 0.4, rng()).sum()) == 100


# --- networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["erdos_renyi", "uniform"])
@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_kernels_have_the_densities_of_the_rule(distribution, sparsity):
    masks = drawn(build("small_world", sparsity=sparsity, distribution=distribution), weights())
    rule = {"erdos_renyi": erdos_renyi, "uniform": uniform}[distribution]
    densities = expected_densities(SMALL, sparsity, rule=rule)
    assert masks.keys() == {name for name, density in densities.items() if density < 1}
    for name, mask in masks.items():
        assert int(mask.sum()) == count(mask.numel(), densities[name])
        fan_in = mask.flatten(1).sum(1)
        assert int(fan_in.max() - fan_in.min()) <= 1


def test_a_convolution_is_the_matrix_of_its_inputs():
    masks = drawn(build("small_world", sparsity=0.5, rewiring=0.0), weights())
    for output, row in enumerate(masks["conv.weight"].flatten(1).tolist()):
        apart = distances(output, 8, 27)
        assert (
            sorted(d for d, live in zip(apart, row, strict=True) if live)
            == sorted(apart)[: sum(row)]
        )


def test_the_seed_decides_and_no_other_generator():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, same, other = (drawn(build("small_world", sparsity=0.8), weights(), s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_masks_are_drawn_one_by_one():
    generator = rng()
    start = generator.get_state()
    masks = build("small_world", sparsity=0.8).draw(weights(), generator)
    assert torch.equal(generator.get_state(), start)
    next(masks)
    after_one = generator.get_state()
    assert not torch.equal(after_one, start)
    next(masks)
    assert not torch.equal(generator.get_state(), after_one)


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="'small_world' for 'critic': sparsity 0.999 is out of"):
        drawn(build("small_world", sparsity=0.999, target="critic"), weights())
    for rewiring in (-0.1, 1.1, math.nan):
        with pytest.raises(OptionError, match=r"^rewiring must be in \[0, 1\]"):
            SmallWorldOptions(0.5, rewiring=rewiring)
