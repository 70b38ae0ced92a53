"""n:m masks of whole networks."""

from __future__ import annotations

import pytest
import torch

from core.api import OptionError, UserError
from plugins.masks.options import NMOptions
from tests.plugins.masks.mask_schemes import KERNELS, SMALL, best, build, drawn, rng, weights


def live_in_groups(mask, m):
    """How many live in each group and how large it is, of a matrix or over input channels."""
    lines = mask.movedim(1, -1).flatten(0, -2)
    for start in range(0, lines.shape[1], m):
        group = lines[:, start : start + m]
        for number in group.sum(1).tolist():
            yield number, group.shape[1]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 8), (3, 4), (5, 16)])
@pytest.mark.parametrize("score", ["random", "magnitude"])
def test_n_of_m_in_every_group_of_every_kernel(n, m, score):
    masks = drawn(build("nm", n=n, m=m, score=score), weights())
    assert list(masks) == KERNELS
    for mask in masks.values():
        for number, size in live_in_groups(mask, m):
            assert number == (n if size == m else max(1, int(n * size / m + 0.5)))


def test_magnitude_keeps_the_largest_of_each_group():
    parameters = weights()
    masks = drawn(build("nm", n=1, m=4, score="magnitude"), parameters)
    for output in range(48):
        for start in range(0, 32, 4):
            group = parameters["up.weight"][output, start : start + 4].abs()
            found = masks["up.weight"][output, start : start + 4].numpy()
            assert found.tolist() == best(group, 1).tolist()


def test_the_seed_decides_random_ones_and_only_them():
    parameters = weights()
    one, same, other = (drawn(build("nm"), parameters, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)
    one, other = (drawn(build("nm", score="magnitude"), parameters, seed) for seed in (1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_masks_are_drawn_one_by_one_from_the_generator_alone():
    generator, state = rng(), torch.get_rng_state()
    start = generator.get_state()
    masks = build("nm").draw(weights(), generator)
    assert torch.equal(generator.get_state(), start)
    next(iter(masks))
    after_one = generator.get_state()
    assert not torch.equal(after_one, start)
    next(iter(masks))
    assert not torch.equal(generator.get_state(), after_one)
    assert torch.equal(torch.get_rng_state(), state)


def test_patterns_stay_dense_and_so_does_what_has_one_input():
    parameters = weights(SMALL | {"scale.weight": (6, 1)})
    masks = drawn(build("nm", dense=("head", "conv.*")), parameters)
    assert list(masks) == ["up.weight", "down.weight"]


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="'nm' for 'actor': the pattern 'haed' of dense fits no"):
        drawn(build("nm", target="actor", dense=("haed",)), weights())
    with pytest.raises(UserError, match="'nm' for 'all': there are no weights to prune"):
        drawn(build("nm", dense=("*",)), weights())


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("n", {"n": 0}),
        ("n", {"n": 4}),
        ("n", {"n": 5, "m": 4}),
        ("m", {"n": 1, "m": 1}),
        ("target", {"target": ""}),
    ],
)
def test_options_out_of_range(field, options):
    with pytest.raises(OptionError) as caught:
        NMOptions(**options)
    assert caught.value.field == field
