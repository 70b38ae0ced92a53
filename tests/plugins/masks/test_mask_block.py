"""Block masks of whole networks, and that the sparse backend knows them for what they are."""

from __future__ import annotations

import math

import pytest
import torch

from core.api import OptionError, UserError
from plugins.execution.pattern.blocks16 import Blocks16
from plugins.execution.pattern.build import pattern_of
from plugins.masks.densities import Shape, erdos_renyi, expected_densities, uniform
from plugins.masks.options import BlockOptions
from tests.plugins.masks.mask_schemes import KERNELS, SMALL, best, build, count, drawn, rng, weights

WIDE: dict[str, Shape] = {
    "up.weight": (128, 64),
    "up.bias": (128,),
    "down.weight": (64, 128),
    "down.bias": (64,),
    "conv.weight": (32, 16, 3, 3),
    "head.weight": (1, 64),
}
RULES = {"erdos_renyi": erdos_renyi, "uniform": uniform}


def corners(mask, side):
    """Which blocks live, if all are whole."""
    matrix = mask.flatten(1)
    found = matrix[::side, ::side]
    whole = found.repeat_interleave(side, 0).repeat_interleave(side, 1)
    assert torch.equal(matrix, whole)
    return found


@pytest.mark.parametrize("distribution", RULES)
@pytest.mark.parametrize("score", ["random", "magnitude"])
@pytest.mark.parametrize("sparsity", [0.3, 0.7, 0.9])
def test_whole_blocks_nearest_to_each_density(distribution, score, sparsity):
    scheme = build("block", sparsity=sparsity, distribution=distribution, score=score)
    masks = drawn(scheme, weights(WIDE))
    densities = expected_densities(WIDE, sparsity, rule=RULES[distribution])
    assert masks.keys() == {name for name, density in densities.items() if density < 1}
    for name in ("up.weight", "down.weight", "conv.weight"):
        wanted = densities[name] * math.prod(WIDE[name]) / 256
        assert abs(int(corners(masks[name], 16).sum()) - wanted) <= 0.5 + 1 / 256
    if "head.weight" in masks:
        assert int(masks["head.weight"].sum()) == count(64, densities["head.weight"])


def test_magnitude_keeps_the_blocks_of_largest_mean():
    parameters = weights(WIDE)
    masks = drawn(build("block", sparsity=0.6, score="magnitude"), parameters)
    found = corners(masks["down.weight"], 16)
    means = [
        [
            parameters["down.weight"][r : r + 16, c : c + 16].abs().double().mean()
            for c in range(0, 128, 16)
        ]
        for r in range(0, 64, 16)
    ]
    assert found.numpy().tolist() == best(means, int(found.sum())).tolist()


@pytest.mark.parametrize("score", ["random", "magnitude"])
def test_the_sparse_backend_recognises_them(score):
    masks = drawn(build("block", sparsity=0.8, score=score, dense=("conv", "head")), weights(WIDE))
    assert set(masks) == {"up.weight", "down.weight"}
    for mask in masks.values():
        pattern = pattern_of(mask)
        assert isinstance(pattern, Blocks16)
        assert pattern.nnz == int(mask.sum())
    plain = drawn(build("erdos_renyi", sparsity=0.8), weights(WIDE))
    assert not isinstance(pattern_of(plain["up.weight"]), Blocks16)


def test_kernels_that_blocks_do_not_fill():
    sides = {name: shape for name, shape in SMALL.items() if name in KERNELS}
    assert {n for n, s in sides.items() if not (s[0] % 16 or math.prod(s[1:]) % 16)} == {
        "up.weight"
    }
    single = drawn(build("block", sparsity=0.5, distribution="uniform"), weights())
    densities = expected_densities(SMALL, 0.5, rule=uniform)
    assert list(single) == KERNELS
    for name in ("conv.weight", "down.weight", "head.weight"):
        assert int(single[name].sum()) == count(single[name].numel(), densities[name])
    corners(single["up.weight"], 16)
    dense = drawn(build("block", sparsity=0.5, rest="dense"), weights())
    assert list(dense) == ["up.weight"]
    left = [name for name in KERNELS if name != "up.weight"]
    wanted = expected_densities(SMALL, 0.5, dense=left)["up.weight"] * 48 * 32
    assert abs(int(dense["up.weight"].sum()) - wanted) <= 128


def test_the_smallest_kernel_keeps_a_block():
    masks = drawn(build("block", sparsity=0.99, counted="kernels"), weights(WIDE))
    for name in ("up.weight", "down.weight"):
        assert int(corners(masks[name], 16).sum()) >= 1
    shapes: dict[str, Shape] = {"big": (320, 320), "tiny": (16, 32)}
    masks = drawn(build("block", sparsity=0.9, distribution="uniform"), weights(shapes))
    assert int(masks["tiny"].sum()) == 256


def test_the_seed_decides_random_ones():
    one, same, other = (drawn(build("block", sparsity=0.8), weights(WIDE), s) for s in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["up.weight"], other["up.weight"])


def test_masks_are_drawn_one_by_one():
    generator = rng()
    start = generator.get_state()
    masks = build("block", sparsity=0.8).draw(weights(WIDE), generator)
    assert torch.equal(generator.get_state(), start)
    assert next(masks)[0] == "up.weight"
    after_one = generator.get_state()
    assert not torch.equal(after_one, start)
    assert next(masks)[0] == "down.weight"
    assert not torch.equal(generator.get_state(), after_one)


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="'block' for 'critic': sparsity 0.999 .* possible is 0.9"):
        drawn(build("block", sparsity=0.999, target="critic"), weights(WIDE))
    with pytest.raises(UserError, match="'block' for 'all': there are no weights to prune"):
        drawn(build("block", sparsity=0.5, side=64, rest="dense"), weights())
    for field, options in [("side", {"side": 1}), ("sparsity", {"sparsity": 1.0})]:
        with pytest.raises(OptionError) as caught:
            BlockOptions(**({"sparsity": 0.5} | options))
        assert caught.value.field == field
