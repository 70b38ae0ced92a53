"""The running normaliser, against NumPy over the whole stream."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.networks.normalise import EPSILON, PRIOR_COUNT, RunningNormaliser


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    offset=st.sampled_from([0.0, 1.0, -1e3]),
    scale=st.sampled_from([1e-2, 1.0, 50.0]),
    seed=st.integers(0, 2**16),
)
def test_normaliser_has_the_statistics_of_the_stream(sizes, offset, scale, seed):
    rng = np.random.default_rng(seed)
    batches = [(offset + scale * rng.standard_normal((n, 3))).astype(np.float32) for n in sizes]
    normaliser = RunningNormaliser((3,))
    for batch in batches:
        normaliser.update(torch.from_numpy(batch))
    stream = np.concatenate(batches).astype(np.float64)
    # The prior is PRIOR_COUNT observations of mean 0 and variance 1.
    count = PRIOR_COUNT + len(stream)
    mean = stream.sum(0) / count
    spread = ((stream - mean) ** 2).sum(0) + PRIOR_COUNT * (1 + mean**2)
    variance = spread / count
    np.testing.assert_allclose(normaliser.count.item(), count)
    np.testing.assert_allclose(normaliser.mean.numpy(), mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(normaliser.squares.numpy() / count, variance, rtol=1e-9)
    got = normaliser(torch.from_numpy(batches[0]))
    assert got.dtype == torch.float32
    expected = (batches[0] - mean.astype(np.float32)) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_normaliser_tends_to_numpy_mean_and_variance():
    stream = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * 3 + 2
    normaliser = RunningNormaliser((4,))
    for row in stream:
        normaliser.update(row[None])
    out = normaliser(stream).double().numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-5)


def test_normaliser_starts_as_the_identity_and_only_update_moves_it():
    normaliser = RunningNormaliser((3,))
    x = torch.randn(8, 3) * 4 + 1
    assert torch.equal(normaliser(x), x)
    normaliser.update(x)
    moved = normaliser(x)
    assert not torch.equal(moved, x)
    assert torch.equal(normaliser(x), moved)
    assert torch.equal(normaliser(torch.stack((x, x)))[1], moved)


def test_normaliser_state_goes_through_a_state_dict():
    normaliser, other = RunningNormaliser((3,)), RunningNormaliser((3,))
    normaliser.update(torch.randn(8, 3))
    other.load_state_dict(normaliser.state_dict())
    for module in (normaliser, other):
        module.update(torch.ones(2, 3))
    x = torch.randn(5, 3)
    assert torch.equal(normaliser(x), other(x))
    assert not list(normaliser.parameters())


def test_normaliser_takes_no_part_in_gradients():
    normaliser = RunningNormaliser((3,))
    x = torch.randn(8, 3, requires_grad=True)
    normaliser.update(x)
    assert not any(buffer.requires_grad for buffer in normaliser.buffers())
    normaliser(x).sum().backward()
    assert x.grad is not None
