"""Diagnostics of representations: each metric against NumPy, by its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import OptionError
from plugins.diagnostics.active_units import active_units
from plugins.diagnostics.dormant_ratio import dormant_ratio, scores
from plugins.diagnostics.effective_rank import effective_rank, singular_values
from plugins.diagnostics.feature_norm import feature_norm
from plugins.diagnostics.options import (
    ActiveUnitsOptions,
    DormantRatioOptions,
    EffectiveRankOptions,
    FeatureNormOptions,
    WeightRankOptions,
)
from plugins.diagnostics.weight_rank import weight_rank

torch.set_num_threads(1)
DOUBLE = torch.float64
side = st.integers(1, 12)


def matrix(rows, columns, rank, seed, dtype=DOUBLE):
    """``[rows, columns]`` of a rank of at most ``rank``, with singular values that differ."""
    draw = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=draw, dtype=DOUBLE)
    return (left @ torch.randn(rank, columns, generator=draw, dtype=DOUBLE)).to(dtype)


def with_singular_values(values, rows, columns, seed=0):
    draw = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, len(values), generator=draw, dtype=DOUBLE))
    right, _ = torch.linalg.qr(torch.randn(columns, len(values), generator=draw, dtype=DOUBLE))
    return left @ torch.diag(torch.tensor(values, dtype=DOUBLE)) @ right.T


# --- effective rank ---------------------------------------------------------------------


@given(rows=side, columns=side, rank=side, seed=st.integers(0, 99))
def test_singular_values_are_numpys(rows, columns, rank, seed):
    features = matrix(rows, columns, rank, seed)
    expected = np.linalg.svd(features.numpy(), compute_uv=False)
    np.testing.assert_allclose(singular_values(features).numpy(), expected, atol=1e-6 * expected[0])


@given(rows=side, columns=side, rank=side, seed=st.integers(0, 99), delta=st.floats(0.001, 0.9))
def test_srank_is_the_first_that_reaches_its_share(rows, columns, rank, seed, delta):
    features = matrix(rows, columns, rank, seed)
    values = np.linalg.svd(features.numpy(), compute_uv=False)
    found = int(effective_rank(features, delta=delta).item())
    target = (1 - delta) * values.sum()
    assert values[:found].sum() >= target - 1e-6 * values.sum()
    assert values[: found - 1].sum() < target + 1e-6 * values.sum()


def test_srank_of_a_batch_is_that_of_the_published_loop():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(256, 300, generator=draw) * torch.logspace(0, -3, 300)
    total, k = 0.0, 0
    values = np.linalg.svd(features.numpy().astype(np.float64), compute_uv=False)
    for value in values:
        total += value
        k += 1
        if total >= values.sum() * (1 - 0.01):
            break
    assert effective_rank(features).item() == k
    assert 50 < k < 250


@pytest.mark.parametrize(
    ("form", "expected"),
    [("srank", 2.0), ("threshold", 3.0), ("entropy", None)],
)
def test_forms_differ_as_they_should(form, expected):
    values = [8.0, 4.0, 0.1, 0.001, 0.0]
    shares = np.array(values[:4]) / sum(values)
    if form == "entropy":
        expected = np.exp(-(shares * np.log(shares)).sum())
    features = with_singular_values(values, 30, 7)
    assert effective_rank(features, form).item() == pytest.approx(expected, rel=1e-6)
    assert effective_rank(features.T, form).item() == pytest.approx(expected, rel=1e-6)
    assert effective_rank(-3 * features, form).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 17])
@pytest.mark.parametrize("form", ["srank", "threshold", "entropy"])
def test_equal_directions_are_counted(rank, form):
    features = with_singular_values([2.0] * rank, 200, 300)
    assert effective_rank(features, form).item() == pytest.approx(rank, rel=1e-7)
    assert effective_rank(features.float(), form).item() == pytest.approx(rank, rel=1e-3)


def test_delta_and_threshold_are_obeyed():
    features = with_singular_values([6.0, 3.0, 1.0], 8, 9)
    assert [effective_rank(features, delta=d).item() for d in (0.05, 0.11, 0.45)] == [3, 2, 1]
    counted = [effective_rank(features, "threshold", threshold=t).item() for t in (0.1, 0.2, 0.9)]
    assert counted == [3, 2, 1]


@pytest.mark.parametrize("form", ["srank", "threshold", "entropy"])
def test_zeros_have_no_rank(form):
    assert effective_rank(torch.zeros(6, 4), form).item() == 0


def test_features_that_are_not_finite_are_refused_by_name():
    with pytest.raises(ValueError, match="not finite"):
        effective_rank(torch.tensor([[1.0, float("nan")], [2.0, 3.0]]))


def test_not_centred():
    """A constant feature is one direction; centring would leave none."""
    assert effective_rank(torch.ones(20, 5)).item() == 1


# --- dormant ratio ----------------------------------------------------------------------


def dormant_by_hand(layers, tau):
    dormant = neurons = 0
    for layer in layers:
        per_neuron = [np.abs(layer[:, j]).mean() for j in range(layer.shape[1])]
        dormant += sum(s / (np.mean(per_neuron) + 1e-9) <= tau for s in per_neuron)
        neurons += len(per_neuron)
    return dormant / neurons


@settings(max_examples=50)
@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    tau=st.sampled_from([0.0, 0.025, 0.1, 0.5, 0.9]),
    seed=st.integers(0, 99),
)
def test_dormant_ratio_pools_the_neurons_of_all_layers(widths, tau, seed):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(16, w)) * rng.choice([0, 0.05, 1], size=w) for w in widths]
    found = dormant_ratio([torch.from_numpy(layer) for layer in layers], tau)
    assert found.item() == pytest.approx(dormant_by_hand(layers, tau), abs=1e-12)


def test_a_hand_built_layer():
    # Mean absolute activations 0, 1, 2, 9: their mean is 3, the scores 0, 1/3, 2/3, 3.
    layer = torch.tensor([[0.0, -1.0, 4.0, 9.0], [0.0, 1.0, 0.0, -9.0]])
    torch.testing.assert_close(scores(layer), torch.tensor([0.0, 1 / 3, 2 / 3, 3.0]))
    assert [dormant_ratio([layer], t).item() for t in (0.0, 0.3, 0.4, 0.7)] == [
        0.25,
        0.25,
        0.5,
        0.75,
    ]
    wide = torch.ones(2, 12)
    assert dormant_ratio([layer, wide], 0.4).item() == 2 / 16  # Not the mean over layers.


def test_a_layer_of_zeros_is_dormant_throughout():
    assert scores(torch.zeros(5, 3)).tolist() == [0, 0, 0]
    assert dormant_ratio([torch.zeros(5, 3), torch.ones(5, 1)], 0.0).item() == 0.75


def test_a_channel_is_one_neuron():
    maps = torch.zeros(2, 3, 4, 5)
    maps[:, 1] = 1.0
    maps[1, 2, 3, 4] = -40.0  # One position of forty: on average as strong as channel 1.
    torch.testing.assert_close(scores(maps), torch.tensor([0.0, 1.5, 1.5]))
    assert dormant_ratio([maps], 0.1).item() == pytest.approx(1 / 3)


# --- active units -----------------------------------------------------------------------


@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    rectified=st.booleans(),
)
def test_active_units_by_counting(widths, seed, rectified):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(6, w)) - rng.normal(size=w) for w in widths]
    layers = [np.maximum(layer, 0) for layer in layers] if rectified else layers
    tensors = [torch.from_numpy(layer) for layer in layers]
    every = np.concatenate([layer.ravel() for layer in layers])
    assert active_units(tensors).item() == pytest.approx((every > 0).mean())
    units = np.concatenate([layer.mean(0) > 0 for layer in layers])
    assert active_units(tensors, "units").item() == pytest.approx(units.mean())
    if rectified:
        ever = np.concatenate([(layer > 0).any(0) for layer in layers])
        assert active_units(tensors, "units").item() == pytest.approx(ever.mean())


def test_positions_count_as_samples_and_channels_as_units():
    maps = torch.zeros(1, 4, 2, 5)
    maps[0, 0, 0, 0] = 1.0
    maps[0, 1] = 1.0
    assert active_units([maps]).item() == pytest.approx(11 / 40)
    assert active_units([maps], "units").item() == 0.5
    dense = torch.ones(1, 10)
    assert active_units([maps, dense]).item() == pytest.approx(21 / 50)


# --- norms and ranks of weights ---------------------------------------------------------


@given(rows=side, columns=side, seed=st.integers(0, 99))
def test_feature_norm_is_the_mean_of_the_rows(rows, columns, seed):
    features = matrix(rows, columns, 3, seed)
    expected = np.mean([np.sqrt((row**2).sum()) for row in features.numpy()])
    assert feature_norm(features).item() == pytest.approx(expected)


@given(rows=side, columns=side, seed=st.integers(0, 99))
def test_stable_rank_is_the_ratio_of_the_norms(rows, columns, seed):
    weight = matrix(rows, columns, 4, seed)
    array = weight.numpy()
    expected = np.linalg.norm(array) ** 2 / np.linalg.norm(array, 2) ** 2
    assert weight_rank(weight).item() == pytest.approx(expected, rel=1e-6)
    assert weight_rank(weight, "srank").item() == effective_rank(weight).item()


def test_weight_ranks_of_known_matrices():
    assert weight_rank(torch.eye(7, 9)).item() == pytest.approx(7)
    assert weight_rank(torch.ones(7, 9)).item() == pytest.approx(1)
    assert weight_rank(torch.zeros(7, 9)).item() == 0
    assert weight_rank(with_singular_values([2.0, 1.0], 5, 6)).item() == pytest.approx(1.25)
    kernel = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert weight_rank(kernel).item() == weight_rank(kernel.reshape(4, 12)).item()
    assert weight_rank(with_singular_values([9.0, 0.5], 5, 6), "srank", delta=0.1).item() == 1


# --- options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "values", "field"),
    [
        (EffectiveRankOptions, {"delta": 0.0}, "delta"),
        (EffectiveRankOptions, {"delta": 1.0}, "delta"),
        (EffectiveRankOptions, {"threshold": 0.0}, "threshold"),
        (EffectiveRankOptions, {"threshold": 1.0}, "threshold"),
        (EffectiveRankOptions, {"networks": ()}, "networks"),
        (EffectiveRankOptions, {"networks": ("actor", "actor")}, "networks"),
        (EffectiveRankOptions, {"every": 0}, "every"),
        (DormantRatioOptions, {"tau": ()}, "tau"),
        (DormantRatioOptions, {"tau": (0.1, 1.0)}, "tau"),
        (DormantRatioOptions, {"tau": (-0.1,)}, "tau"),
        (DormantRatioOptions, {"tau": (0.1, 0.1)}, "tau"),
        (ActiveUnitsOptions, {"every": -1}, "every"),
        (FeatureNormOptions, {"networks": ()}, "networks"),
        (WeightRankOptions, {"networks": ()}, "networks"),
        (WeightRankOptions, {"delta": 2.0}, "delta"),
        (WeightRankOptions, {"every": 0}, "every"),
    ],
)
def test_values_out_of_range(options, values, field):
    with pytest.raises(OptionError) as error:
        options(**values)
    assert error.value.field == field
