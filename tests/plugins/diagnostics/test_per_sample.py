"""Per-sample gradients, their products in bounded memory, and what is made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from plugins.diagnostics import per_sample
from plugins.diagnostics.gradient_interference import (
    cosine_similarities,
    gradient_interference,
    pairs,
)
from plugins.diagnostics.per_sample import gradient_products, per_sample_gradients

torch.set_num_threads(1)
DOUBLE = torch.float64


def network(inputs=3, hidden=5, seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.Tanh(), nn.Linear(hidden, 2)
    return nn.Sequential(*layers).to(DOUBLE)


def batch_of(rows, inputs=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(rows, inputs, generator=draw, dtype=DOUBLE),
        "y": torch.randn(rows, 2, generator=draw, dtype=DOUBLE),
        "scale": torch.tensor(1.7, dtype=DOUBLE),  # shared by all rows
    }


def error_of(module):
    def objective(parameters, batch):
        assert batch["x"].shape[0] == 1  # a batch of one, as an update would see it
        answer = functional_call(module, parameters, (batch["x"],))
        return (batch["scale"] * (answer - batch["y"]).square()).mean()

    return objective


def loop(module, batch, masks=None):
    """``[B, P]``: living entries of each row's gradient, by one backward call a row."""
    rows = []
    for i in range(len(batch["x"])):
        module.zero_grad()
        error = (module(batch["x"][i : i + 1]) - batch["y"][i : i + 1]).square()
        (batch["scale"] * error).mean().backward()
        found = dict(module.named_parameters())
        kept = [p.grad[masks[n]] if masks and n in masks else p.grad for n, p in found.items()]
        rows.append(torch.cat([gradient.flatten() for gradient in kept]))
    module.zero_grad()
    return torch.stack(rows)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 6))
def test_gradients_of_rows_are_those_of_a_loop(rows, inputs, hidden):
    module, batch = network(inputs, hidden), batch_of(rows, inputs)
    gradients = per_sample_gradients(error_of(module), dict(module.named_parameters()), batch)
    assert {n: g.shape for n, g in gradients.items()} == {
        n: (rows, *p.shape) for n, p in module.named_parameters()
    }
    flat = torch.cat([gradient.flatten(1) for gradient in gradients.values()], 1)
    torch.testing.assert_close(flat, loop(module, batch), rtol=1e-10, atol=1e-12)
    assert not flat.requires_grad
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_some_parameters_alone_and_no_graph_to_the_others():
    module, batch = network(), batch_of(4)
    some = {"3.weight": module[3].weight}
    (gradient,) = per_sample_gradients(error_of(module), some, batch).values()
    assert gradient.grad_fn is None
    expected = loop(module, batch)[:, -12:-2]
    torch.testing.assert_close(gradient.flatten(1), expected, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(
    rows=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    memory=st.integers(1, 6 * 8 * 50),
    seed=st.integers(0, 3),
)
def test_products_in_any_memory_are_those_of_the_living_weights(rows, share, memory, seed):
    module, batch = network(seed=seed), batch_of(rows, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    masks = {
        name: torch.rand(p.shape, generator=draw) < share
        for name, p in module.named_parameters()
        if p.dim() == 2  # with a share of zero these are wholly dead
    }
    found = gradient_products(
        error_of(module), dict(module.named_parameters()), batch, masks, memory
    )
    vectors = loop(module, batch, masks)
    torch.testing.assert_close(found, vectors @ vectors.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("memory", [1, 400, 700, 1_000, 2_000, 10**9])
def test_memory_is_kept_to_where_a_row_of_the_largest_layer_fits(memory, monkeypatch):
    module, batch = network(hidden=9), batch_of(5)
    answers, real = [], per_sample.per_sample_gradients

    def spy(objective, parameters, batch):
        gradients = real(objective, parameters, batch)
        answers.append((len(batch["x"]), sum(g.nbytes for g in gradients.values())))
        return gradients

    monkeypatch.setattr(per_sample, "per_sample_gradients", spy)
    parameters = dict(module.named_parameters())
    turns, _ = per_sample._turns(parameters, {}, 5, memory)
    found = gradient_products(error_of(module), parameters, batch, memory=memory)
    vectors = loop(module, batch)
    torch.testing.assert_close(found, vectors @ vectors.T, rtol=1e-10, atol=1e-12)
    columns = [sum(piece.stop - piece.start for piece in turn) for turn in turns]
    assert sum(columns) == vectors.shape[1]
    assert sum(rows for rows, _ in answers) == 5 * len(turns)
    held, taken = 5 * 8 * max(columns), max(size for _, size in answers)
    if memory < 600:  # columns are divided, and rows come one at a time
        assert len(turns) > len(parameters)
        assert {rows for rows, _ in answers} == {1}
    else:
        assert held + taken <= memory
    if memory == 10**9:
        assert answers == [(5, held)]


def test_every_turn_sees_the_same_random_numbers():
    """Rows' gradients are ``z_i`` times one vector, so that all similarities are 1 or -1."""
    sizes = {"a": 3, "b": 7, "c": 20}
    parameters = {name: torch.ones(size, dtype=DOUBLE) for name, size in sizes.items()}

    def objective(parameters, row):
        z = torch.randn_like(row["x"]).sum()
        return z * sum(p.sum() for p in parameters.values())

    batch = {"x": torch.zeros(6, 20)}
    before = torch.get_rng_state()
    whole = gradient_products(objective, parameters, batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.diagonal().unique().numel() == 6  # each row has noise of its own
    for memory in (1, 300, 900, 2_000):
        products = gradient_products(objective, parameters, batch, memory=memory)
        assert torch.equal(torch.get_rng_state(), before)
        similar = cosine_similarities(products, 0.0).abs()
        torch.testing.assert_close(similar, torch.ones(6, 6, dtype=DOUBLE))


def test_similarities_of_known_vectors():
    vectors = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).double()
    found = cosine_similarities(vectors @ vectors.T, epsilon=0.0)
    half = math.sqrt(0.5)
    expected = [
        [1, 0, -1, half, 0],
        [0, 1, 0, half, 0],
        [-1, 0, 1, -half, 0],
        [half, half, -half, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=DOUBLE))
    summary = pairs(found)
    assert summary["mean_abs"].item() == pytest.approx(2 * (1 + 3 * half) / 20)
    assert summary["negative"].item() == pytest.approx(4 / 20)


def test_epsilon_is_added_to_each_product_of_norms():
    vectors = torch.tensor([[1e-4, 0.0], [1e-4, 1e-4]]).double()
    found = cosine_similarities(vectors @ vectors.T)
    assert found[0, 0].item() == pytest.approx(1e-8 / (1e-8 + 1e-8))
    assert found[0, 1].item() == pytest.approx(1e-8 / (math.sqrt(2) * 1e-8 + 1e-8))


@settings(deadline=None, max_examples=8)
@given(st.integers(2, 6), st.integers(0, 5))
def test_interference_is_numpy_s_cosine_of_the_loop(rows, seed):
    module, batch = network(seed=seed), batch_of(rows, seed=seed)
    found = gradient_interference(
        error_of(module), dict(module.named_parameters()), batch, epsilon=0.0
    ).numpy()
    vectors = loop(module, batch).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found, unit @ unit.T, atol=1e-10)
    off = (unit @ unit.T)[~np.eye(rows, dtype=bool)]
    summary = pairs(torch.from_numpy(found))
    assert summary["mean_abs"].item() == pytest.approx(np.abs(off).mean())
    assert summary["negative"].item() == pytest.approx((off < 0).mean())
