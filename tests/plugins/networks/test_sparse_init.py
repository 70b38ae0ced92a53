"""Sparse initialisation of the streaming networks, alone and with masks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.agent.masks import MaskSet, removed_weights_are_zero
from core.agent.networks import MaskedNetworks
from core.api import EnvironmentSpec, MaskContext
from plugins.masks import register_masks
from plugins.masks.options import RandomMaskOptions
from plugins.networks.initialisers import convolution, linear
from plugins.networks.options import SparseInit, StreamCnnOptions, StreamMlpOptions
from plugins.networks.sparse_init import fill_sparsely, nonzero_inputs, sparse_uniform
from tests.support.agents import make_execution
from tests.support.stream_builders import CHEETAH, FRAMES, HEADS, build, size

torch.set_num_threads(1)
PUBLISHED = SparseInit()
INSIDE = SparseInit(order="init_inside_mask")
# Non-zero inputs of a unit at sparsity 0.9, by its number of inputs.
PUBLISHED_COUNTS = {1: 0, 5: 0, 9: 0, 10: 1, 17: 1, 19: 1, 20: 2, 29: 2, 68: 6, 128: 12, 378: 37}


def kernels(module):
    return {name: p.detach() for name, p in module.named_parameters() if p.ndim > 1}


# --- alone -----------------------------------------------------------------------------


@pytest.mark.parametrize(("inputs", "count"), PUBLISHED_COUNTS.items())
def test_each_unit_has_the_published_number_of_nonzero_inputs(inputs, count):
    torch.manual_seed(0)
    layer = linear(inputs, 64, sparse_uniform(PUBLISHED))
    assert (layer.weight.count_nonzero(1) == count).all()
    assert count == inputs - math.ceil(0.9 * inputs)
    assert layer.weight.abs().max() <= 1 / math.sqrt(inputs)
    assert not layer.bias.any()


def test_a_filter_is_a_unit():
    torch.manual_seed(0)
    layer = convolution(4, 32, 8, 5, sparse_uniform(PUBLISHED))
    assert (layer.weight.flatten(1).count_nonzero(1) == 256 - 231).all()
    assert layer.weight.abs().max() <= 1 / 16
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("options", "spec"), [(StreamMlpOptions(), CHEETAH), (StreamCnnOptions(), FRAMES)]
)
def test_every_layer_starts_sparse_heads_included(options, spec):
    torch.manual_seed(0)
    networks = build(options, spec)
    for module in (networks.actor(HEADS), networks.critic(2, 3)):
        found = kernels(module)
        assert any("head" in name for name in found)
        for name, weight in found.items():
            rows = weight.flatten(1)
            expected = rows.shape[1] - math.ceil(0.9 * rows.shape[1])
            assert (rows.count_nonzero(1) == expected).all(), name
        assert not any(p.any() for p in module.parameters() if p.ndim == 1)


@settings(max_examples=50, deadline=None)
@given(
    sparsity=st.integers(0, 99),
    inputs=st.integers(1, 400),
    min_kept=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
@example(sparsity=55, inputs=100, min_kept=0, seed=0)  # 0.55 * 100 is above 55 in floats
@example(sparsity=90, inputs=3, min_kept=5, seed=0)
def test_counts_are_exact_for_any_sparsity(sparsity, inputs, min_kept, seed):
    """Sparsity in hundredths, so that the ceiling can be taken of whole numbers."""
    torch.manual_seed(seed)
    options = SparseInit(sparsity / 100, min_kept)
    zeros = -(-sparsity * inputs // 100)
    expected = min(inputs, max(inputs - zeros, min_kept))
    assert nonzero_inputs(torch.tensor([inputs]), options).item() == expected
    weight = fill_sparsely(torch.empty(7, inputs), torch.ones(7, inputs, dtype=torch.bool), options)
    assert (weight.count_nonzero(1) == expected).all()


def test_nonzero_weights_are_uniform_in_value_and_place():
    torch.manual_seed(0)
    units, inputs = 40_000, 30
    weight = linear(inputs, units, sparse_uniform(PUBLISHED)).weight.detach()
    values = weight[weight != 0].double().sort().values
    count = units * 3
    assert len(values) == count
    cdf = (values * math.sqrt(inputs) + 1) / 2
    # Kolmogorov and Smirnov: above 1.95 / sqrt(n) once in a thousand seeds
    empirical = torch.arange(1, count + 1, dtype=torch.float64) / count
    assert (cdf - empirical).abs().max() < 1.95 / math.sqrt(count)
    # Each place is chosen with probability 0.1 by every unit: five standard deviations.
    hits = (weight != 0).sum(0).double()
    assert (hits - 4000).abs().max() < 5 * math.sqrt(units * 0.1 * 0.9)
    # And pairs of places: 3*2/(30*29) of the units.
    pairs = (weight != 0).double().T @ (weight != 0).double()
    off = pairs[~torch.eye(inputs, dtype=torch.bool)]
    share = 6 / 870
    assert (off - units * share).abs().max() < 5.5 * math.sqrt(units * share * (1 - share))


def test_every_call_draws_anew_and_the_seed_decides():
    networks = build(StreamMlpOptions(), CHEETAH)

    def draw(seed):
        torch.manual_seed(seed)
        return [networks.actor(HEADS).trunk[0].weight for _ in "ab"]

    first, second = draw(0)
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip((first, second), draw(0), strict=True))


def test_an_all_zero_first_layer_still_learns():
    torch.manual_seed(0)
    actor = build(StreamMlpOptions(), EnvironmentSpec((5,), 2)).actor({"mean": 2})
    x = torch.randn(1, 5)
    assert not actor.trunk[0].weight.any()
    sum(head.sum() for head in actor(x)).backward()
    assert actor.trunk[0].weight.grad.abs().max() > 0.01


def test_no_memory_for_networks_on_the_meta_device():
    networks = build(StreamMlpOptions(sparse_init=INSIDE), CHEETAH)
    with torch.device("meta"):
        actor = networks.actor(HEADS)
    networks.masked(actor, {"trunk.0.weight": torch.ones(128, 18, dtype=torch.bool)})
    assert size(actor) == 20_492
    assert all(p.is_meta for p in actor.parameters())


# --- with masks -------------------------------------------------------------------------


def scheme(sparsity, draw="exact"):
    (component,) = [c for c in register_masks() if c.name == "erdos_renyi"]
    return component.build(RandomMaskOptions(sparsity, "actor", draw=draw), MaskContext())


def masked_actor(options, spec, sparsity, draw="exact"):
    """As a run makes one: drawn, told of its masks, masked. With the masks."""
    masks = MaskSet(1)
    parts = MaskedNetworks(
        build(options, spec), masks, [scheme(sparsity, draw)], make_execution(), torch.device("cpu")
    )
    torch.manual_seed(0)
    actor = parts.actor(HEADS)
    assert removed_weights_are_zero(actor, masks.masks["actor"])
    return actor, masks.masks["actor"]


@pytest.mark.parametrize("draw", ["exact", "bernoulli"])
@pytest.mark.parametrize("min_kept", [0, 2])
@pytest.mark.parametrize(
    ("kind", "spec"), [(StreamMlpOptions, CHEETAH), (StreamCnnOptions, FRAMES)]
)
def test_inside_a_mask_each_unit_has_its_share_of_living_inputs(kind, spec, min_kept, draw):
    init = SparseInit(0.9, min_kept, "init_inside_mask")
    actor, masks = masked_actor(kind(sparse_init=init), spec, 0.8, draw)
    assert len(masks) >= 2
    for name, weight in kernels(actor).items():
        rows = weight.flatten(1)
        mask = masks.get(name, torch.ones_like(weight, dtype=torch.bool)).flatten(1)
        for row, lives in zip(rows, mask, strict=True):
            k = int(lives.sum())
            assert row.count_nonzero() == min(k, max(k - math.ceil(0.9 * k), min_kept)), name
        assert rows.abs().max() <= 1 / math.sqrt(rows.shape[1])


def test_a_mask_over_a_sparse_init_leaves_the_draw_as_it_was():
    options = StreamMlpOptions(width=512)
    actor, masks = masked_actor(options, CHEETAH, 0.8)
    torch.manual_seed(0)
    plain = kernels(build(options, CHEETAH).actor(HEADS))
    for name, weight in kernels(actor).items():
        mask = masks.get(name)
        assert torch.equal(weight, plain[name] if mask is None else plain[name] * mask)
    # 51 of a unit's 512 inputs are not zero, independently of the mask; five deviations
    name = "trunk.3.weight"
    expected = masks[name].sum().item() * 51 / 512
    count = kernels(actor)[name].count_nonzero().item()
    assert abs(count - expected) < 5 * math.sqrt(expected)


def test_inside_a_mask_positions_are_uniform_over_what_lives():
    torch.manual_seed(0)
    units, inputs, k = 20_000, 40, 20
    living = torch.zeros(units, inputs, dtype=torch.bool)
    living[:, ::2] = True
    weight = fill_sparsely(torch.empty(units, inputs), living, INSIDE)
    assert not weight[:, 1::2].any()
    hits = (weight[:, ::2] != 0).sum(0).double()
    assert (hits - units * 2 / k).abs().max() < 5 * math.sqrt(units * 0.1 * 0.9)


def test_no_masks_change_nothing():
    networks = build(StreamMlpOptions(sparse_init=INSIDE), CHEETAH)
    actor = networks.actor(HEADS)
    before = {name: p.clone() for name, p in kernels(actor).items()}
    networks.masked(actor, {})
    assert all(torch.equal(before[name], p) for name, p in kernels(actor).items())
