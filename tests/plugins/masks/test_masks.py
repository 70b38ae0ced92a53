"""Mask draws and schemes, against plain counting and their distributions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.api import MaskContext, MaskScheme, OptionError, UserError
from plugins.masks import random_masks, register_masks
from plugins.masks.densities import Shape, erdos_renyi, expected_densities, uniform
from plugins.masks.options import NoMaskOptions, RandomMaskOptions
from plugins.masks.random_masks import bernoulli_mask, exact_mask

COMPONENTS = {component.name: component for component in register_masks()}


def build(name: str, **options: object) -> MaskScheme:
    component = COMPONENTS[name]
    return component.build(component.options(**options), MaskContext())


def drawn(scheme: MaskScheme, shapes: dict[str, Shape], generator: torch.Generator):
    """All masks at once; schemes give them one by one."""
    return dict(scheme.draw(empty(shapes), generator))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def empty(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    return {name: torch.empty(shape) for name, shape in shapes.items()}


SMALL: dict[str, Shape] = {
    "conv.weight": (8, 3, 3, 3),
    "conv.bias": (8,),
    "up.weight": (40, 20),
    "up.bias": (40,),
    "head.weight": (4, 40),
    "head.bias": (4,),
}

# --- draws ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 3000), seed=st.integers(0, 2**32))
def test_exact_masks_are_exact(data, size, seed):
    count = data.draw(st.integers(0, size))
    mask = exact_mask(size, count, rng(seed))
    assert mask.dtype == torch.bool
    assert mask.shape == (size,)
    assert int(mask.sum()) == count


@pytest.mark.parametrize("count", [-1, 5])
def test_exact_masks_refuse_what_cannot_be(count):
    with pytest.raises(ValueError, match=r"\[0, 4\]"):
        exact_mask(4, count, rng())


def chi_square(observed: list[int], expected: float) -> float:
    return sum((n - expected) ** 2 / expected for n in observed)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_subset_is_equally_likely(count, monkeypatch):
    monkeypatch.setattr(random_masks, "CHUNK", 1)  # so that a round has more than one chunk
    generator, draws = rng(1), 2000
    seen = Counter(tuple(exact_mask(6, count, generator).tolist()) for _ in range(draws))
    subsets = math.comb(6, count)
    assert len(seen) == subsets
    freedom = subsets - 1
    # five standard deviations of a chi-square above its mean
    limit = freedom + 5 * math.sqrt(2 * freedom)
    assert chi_square(list(seen.values()), draws / subsets) < limit


@pytest.mark.parametrize("density", [0.2, 0.7])
def test_large_masks_favour_no_region(density):
    size, bins = 4_000_000, 400
    count = round(density * size)
    mask = exact_mask(size, count, rng(2))
    observed = mask.view(bins, -1).sum(1).tolist()
    # bins share a fixed total without replacement: the variance is that of a hypergeometric
    score = chi_square(observed, count / bins) / (1 - density)
    assert abs(score - (bins - 1)) < 5 * math.sqrt(2 * (bins - 1))


@settings(max_examples=10, deadline=None)
@given(density=st.floats(0.05, 0.95), size=st.integers(50, 5000), seed=st.integers(0, 1000))
def test_bernoulli_counts_are_binomial(density, size, seed):
    generator = rng(seed)
    counts = torch.tensor(
        [int(bernoulli_mask(size, density, generator).sum()) for _ in range(60)]
    ).double()
    variance = size * density * (1 - density)
    assert abs(counts.mean() - size * density) < 5 * math.sqrt(variance / 60)
    assert 0.3 * variance < counts.var() < 2.5 * variance


def test_bernoulli_entries_are_independent():
    generator = rng(3)
    draws = torch.stack([bernoulli_mask(3, 0.3, generator) for _ in range(6000)])
    for pattern in itertools.product([False, True], repeat=3):
        share = (draws == torch.tensor(pattern)).all(1).double().mean().item()
        expected = 0.3 ** sum(pattern) * 0.7 ** (3 - sum(pattern))
        assert share == pytest.approx(expected, abs=5 * math.sqrt(expected / 6000))


# --- schemes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["erdos_renyi", "uniform"])
@settings(max_examples=15, deadline=None)
@given(sparsity=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
def test_masks_keep_the_nearest_number(name, sparsity, seed):
    parameters = empty(SMALL)
    masks = drawn(build(name, sparsity=sparsity), SMALL, rng(seed))
    rule = {"erdos_renyi": erdos_renyi, "uniform": uniform}[name]
    densities = expected_densities(SMALL, sparsity, rule=rule)
    assert set(masks) == {n for n, density in densities.items() if density < 1}
    for key, mask in masks.items():
        assert mask.dtype == torch.bool
        assert mask.device.type == "cpu"
        assert mask.shape == parameters[key].shape
        assert abs(int(mask.sum()) - densities[key] * mask.numel()) <= 0.5


def test_the_seed_decides_the_mask():
    scheme = build("erdos_renyi", sparsity=0.8)
    first, same, other = (drawn(scheme, SMALL, rng(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("draw", ["exact", "bernoulli"])
def test_only_the_generator_is_drawn_from(draw):
    torch.manual_seed(5)
    before, generator = torch.get_rng_state(), rng()
    start = generator.get_state()
    drawn(build("erdos_renyi", sparsity=0.8, draw=draw), SMALL, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(generator.get_state(), start)


def test_bernoulli_scheme_scatters_around_the_exact_count():
    exact = drawn(build("uniform", sparsity=0.5), SMALL, rng())["up.weight"].sum()
    scheme = build("uniform", sparsity=0.5, draw="bernoulli")
    generator = rng()
    counts = [int(drawn(scheme, SMALL, generator)["up.weight"].sum()) for _ in range(100)]
    assert len(set(counts)) > 20
    assert abs(sum(counts) / 100 - int(exact)) < 5 * math.sqrt(800 / 4 / 100)


@pytest.mark.parametrize("name", ["erdos_renyi", "uniform"])
def test_no_sparsity_means_no_masks(name):
    assert drawn(build(name, sparsity=0.0), SMALL, rng()) == {}


def test_none_means_no_masks():
    scheme = COMPONENTS["none"].build(NoMaskOptions("critic"), MaskContext())
    assert drawn(scheme, SMALL, rng()) == {}
    assert scheme.target == "critic"


def test_an_exact_draw_keeps_at_least_one():
    shapes: dict[str, Shape] = {"big": (500, 500), "tiny": (1, 3)}
    masks = drawn(build("uniform", sparsity=0.95), shapes, rng())
    assert int(masks["tiny"].sum()) == 1


def test_a_sparsity_out_of_reach_is_explained():
    with pytest.raises(UserError, match=r"'uniform' for 'critic': sparsity 0.99 .*possible is 0\."):
        build("uniform", sparsity=0.99, target="critic").draw(empty(SMALL), rng())


def test_nothing_to_prune_is_explained():
    with pytest.raises(UserError, match=r"'uniform' for 'all': there are no weights to prune"):
        build("uniform", sparsity=0.5, dense=("*",)).draw(empty(SMALL), rng())


def test_a_pattern_that_fits_nothing_is_a_mistake_unless_for_all_networks():
    options = {"sparsity": 0.5, "dense": ("haed",)}
    with pytest.raises(UserError, match=r"'haed' of dense fits no parameter; they are conv"):
        build("erdos_renyi", target="actor", **options).draw(empty(SMALL), rng())
    assert drawn(build("erdos_renyi", target="all", **options), SMALL, rng())


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("sparsity", lambda: RandomMaskOptions(sparsity=1.0)),
        ("sparsity", lambda: RandomMaskOptions(sparsity=-0.1)),
        ("sparsity", lambda: RandomMaskOptions(sparsity=math.nan)),
        ("target", lambda: RandomMaskOptions(sparsity=0.5, target="")),
        ("target", lambda: NoMaskOptions(target="")),
    ],
)
def test_options_out_of_range(field, make):
    with pytest.raises(OptionError) as caught:
        make()
    assert caught.value.field == field


def test_masks_are_drawn_one_by_one():
    generator = rng()
    start, masks = (
        generator.get_state(),
        build("uniform", sparsity=0.5).draw(empty(SMALL), generator),
    )
    assert torch.equal(generator.get_state(), start)
    first, _ = next(iter(masks))
    assert first == "conv.weight"
    after_one = generator.get_state()
    assert not torch.equal(after_one, start)
    assert [name for name, _ in masks] == ["up.weight", "head.weight"]
    assert not torch.equal(generator.get_state(), after_one)
