"""What is dropped and what grows, against the published rules in NumPy."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.masks.random_masks import kept
from plugins.masks.rewiring import at_random, highest_among, rewired
from tests.plugins.masks.mask_views import scheme, view

# --- the rules in NumPy -----------------------------------------------------------------


def first_highest(scores, count):
    """``tf.math.top_k``: among equal scores those of lower index."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores.ravel(), kind="stable")[:count]] = True
    return chosen.reshape(scores.shape)


def dropped_and_grown(mask, weight, score_grow, fraction):
    """``generic_mask_update`` of google-research/rigl, removed weights never being kept."""
    count = int(mask.sum())
    moved = int(count * fraction)
    kept = first_highest(np.where(mask, np.abs(weight), -1), count - moved)
    grown = first_highest(np.where(kept, score_grow.min() - 1, score_grow), moved)
    assert not (kept & grown).any()
    return kept, grown


SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
)


@st.composite
def layers(draw):
    """Mask, weight, gradient; numbers from few values, so that many are equal, zeros too."""
    shape, density = draw(SHAPES), draw(st.floats(0, 1))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    values = draw(st.sampled_from([2, 5, 1000]))
    mask = random.random(shape) < density
    weight = random.integers(-values, values + 1, shape) * mask / 8
    return mask, weight, random.integers(-values, values + 1, shape) / 4


FRACTIONS = st.one_of(st.sampled_from([0.1, 0.3, 0.5, 1.0]), st.floats(0.001, 1))


@settings(max_examples=60)
@given(layers(), FRACTIONS)
def test_rigl_moves_the_smallest_weights_to_the_largest_gradients(layer, fraction):
    mask, weight, gradient = layer
    kept, grown = dropped_and_grown(mask, weight, np.abs(gradient), fraction)
    rigl = scheme("rigl", sparsity=0.5, drop_fraction=fraction, decay="constant", every=10)
    weights, masks = {"w": torch.tensor(weight)}, {"w": torch.tensor(mask)}
    changed = rigl.change(view(weights, masks, {"w": torch.tensor(gradient)}, frame=10))
    assert np.array_equal(changed["w"].numpy(), kept | grown)
    assert changed["w"].sum() == mask.sum()


@settings(max_examples=40)
@given(layers(), FRACTIONS, st.integers(0, 1000))
def test_set_keeps_the_largest_and_grows_anywhere_else(layer, fraction, seed):
    mask, weight, gradient = layer
    kept, _ = dropped_and_grown(mask, weight, gradient, fraction)
    evolved = scheme("set", sparsity=0.5, drop_fraction=fraction, every=10)
    weights, masks = {"w": torch.tensor(weight)}, {"w": torch.tensor(mask)}
    first, again = (
        evolved.change(view(weights, masks, frame=10, seed=seed))["w"].numpy() for _ in range(2)
    )
    assert np.array_equal(first, again)
    assert first.sum() == mask.sum()
    assert first[kept].all()


def test_set_grows_every_place_that_does_not_live_equally_often():
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0] = mask[1] = True
    weight = torch.zeros(4, 5)
    weight[mask] = torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 0.2, 0.1, 0.0])
    counts = torch.zeros(4, 5)
    draws = 1500
    for seed in range(draws):
        counts += scheme("set", sparsity=0.5, every=1).change(
            view({"w": weight}, {"w": mask}, frame=1, seed=seed)
        )["w"]
    kept = weight > 0.25
    assert (counts[kept] == draws).all()
    # Three of the thirteen others, those just dropped among them: each with probability 3/13.
    expected = draws * 3 / 13
    assert (counts[~kept] - expected).abs().max() < 5 * math.sqrt(expected * 10 / 13)
    assert counts[~kept].sum() == 3 * draws


def test_places_are_drawn_from_the_given_generator_alone():
    candidates = torch.rand(20, 20) < 0.5
    state = torch.get_rng_state()
    chosen = [at_random(candidates, 40, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])
    assert all(int(c.sum()) == 40 and not (c & ~candidates).any() for c in chosen)


@given(st.integers(1, 60), st.floats(0.001, 0.2))
def test_a_fraction_of_less_than_a_weight_moves_none(live, fraction):
    mask = torch.arange(80) < live

    def refuse(candidates, count):
        raise AssertionError("nothing was dropped")

    if fraction * live < 1:
        assert rewired(mask, torch.randn(80), fraction, refuse) is mask


def test_the_first_of_equal_candidates_are_chosen():
    candidates = torch.tensor([False, True, True, False, True])
    chosen = highest_among(candidates, torch.tensor([9.0, 1, 1, 9, 1]), 2)
    assert chosen.tolist() == [False, True, True, False, False]


# --- gradual magnitude pruning ----------------------------------------------------------


@settings(max_examples=40)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0.05, 0.97),
    st.integers(1, 90),
    st.integers(0, 300),
    st.integers(1, 700),
    st.integers(1, 5),
)
def test_gmp_holds_the_cubic_ramp(outputs, inputs, sparsity, every, begin, length, values):
    random = np.random.default_rng(outputs * 100 + inputs)
    weight = random.integers(-values, values + 1, (outputs, inputs)).astype(float)
    pruned = scheme(
        "gmp",
        sparsity=sparsity,
        counted="kernels",
        every=every,
        begin=begin,
        end=begin + length,
    )
    parameters = {"w": torch.tensor(weight)}
    budget = weight.size - math.floor(sparsity * weight.size)
    if budget == weight.size:
        return
    mask = dict(pruned.draw(parameters, torch.Generator()))["w"]
    assert mask.all()
    n = length // every
    density = budget / weight.size
    last = -1
    for frame in range(begin + length + 50):
        if not pruned.due(last, frame):
            continue
        k = (frame - begin) // every
        assert (frame - begin) % every == 0
        assert 1 <= k <= n
        last = frame
        before = mask
        changed = pruned.change(view(parameters, {"w": mask}, frame=frame))
        mask = changed.get("w", mask)
        # Zhu & Gupta's equation 1, with s_i = 0 and n steps of length `every`.
        s = (1 - density) * (1 - (1 - (frame - begin) / (n * every)) ** 3)
        assert abs(mask.numel() - int(mask.sum()) - s * mask.numel()) <= 1
        assert int(mask.sum()) == kept(mask.numel(), 1 - s)
        expected = first_highest(np.where(before, np.abs(weight), -1), int(mask.sum()))
        assert np.array_equal(mask.numpy(), expected)
        assert not (mask & ~before).any()
        parameters = {"w": torch.tensor(weight) * mask}
    assert int(mask.sum()) == (kept(mask.numel(), density) if n else mask.numel())


def test_gmp_spreads_the_last_sparsity_as_asked():
    shapes = {"wide": (64, 64), "narrow": (64, 4)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    for distribution in ("uniform", "erdos_renyi"):
        options = {"sparsity": 0.8, "counted": "kernels", "every": 100}
        final = scheme("gmp", distribution=distribution, **options)
        masks = dict(final.draw(weights, torch.Generator()))
        last = final.change(view(weights, masks, frame=1000))
        want = dict(scheme_of_static(distribution).draw(weights, torch.Generator().manual_seed(0)))
        assert {n: int(m.sum()) for n, m in last.items()} == {
            n: int(m.sum()) for n, m in want.items()
        }


def scheme_of_static(name):
    return scheme(name, sparsity=0.8, counted="kernels")


def test_gmp_never_lets_weights_back():
    """Resumed to more frames, the ramp asks for more than there is."""
    weights = {"w": torch.randn(30, 30)}
    short = scheme("gmp", frames=1000, sparsity=0.8, counted="kernels", every=10)
    masks = dict(short.draw(weights, torch.Generator()))
    masks = short.change(view(weights, masks, frame=700))
    longer = scheme("gmp", frames=2000, sparsity=0.8, counted="kernels", every=10)
    assert longer.change(view(weights, masks, frame=710)) == {}
