"""Stream-X's running normaliser, against NumPy over the whole stream."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.networks.welford import WelfordNormaliser
from tests.support.fake_cuda import CUDA, LAZY, claim, claim_module, fake_device


class Oracle:
    """Welford's algorithm, one row at a time, in float64."""

    def __init__(self, size):
        self.n, self.mean, self.squares = 0, np.zeros(size), np.zeros(size)

    def update(self, row):
        row = row.astype(np.float64)
        self.n += 1
        apart = row - self.mean
        self.mean = self.mean + apart / self.n
        self.squares = self.squares + apart * (row - self.mean)

    @property
    def variance(self):
        return self.squares / (self.n - 1) if self.n > 1 else np.ones_like(self.mean)

    def __call__(self, row):
        return (row.astype(np.float64) - self.mean) / np.sqrt(self.variance + 1e-8)


def rows_of_episodes(count, size, seed=0):
    """Observations of very different scales that jump at resets, every 37 rows."""
    rng = np.random.default_rng(seed)
    scale, offset = 10.0 ** rng.uniform(-3, 3, size), rng.uniform(-50, 50, size)
    walk = rng.standard_normal((count, size)).cumsum(0)
    walk -= walk[np.arange(count) // 37 * 37]
    return (offset + scale * (walk + 0.1 * rng.standard_normal((count, size)))).astype(np.float32)


def variance_of(normaliser):
    return (normaliser.squares / (normaliser.count - 1)).numpy()


def assert_same_statistics(normaliser, oracle):
    assert normaliser.count.item() == oracle.n
    np.testing.assert_allclose(normaliser.mean.numpy(), oracle.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(normaliser.squares.numpy(), oracle.squares, rtol=1e-12, atol=1e-12)


@pytest.fixture(params=["numpy", "torch"])
def path(request, monkeypatch):
    """Both ways through the code, on the CPU."""
    if request.param == "torch":
        monkeypatch.setattr(WelfordNormaliser, "_on_host", lambda self, observation: False)
    return request.param


def test_welford_is_the_oracle_over_a_thousand_rows(path):
    normaliser, oracle = WelfordNormaliser((17,)), Oracle(17)
    for row in rows_of_episodes(1000, 17):
        oracle.update(row)
        normaliser.update(torch.from_numpy(row[None]))
        got = normaliser(torch.from_numpy(row[None]))
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got[0].numpy(), oracle(row), rtol=1e-6, atol=1e-6)
    assert_same_statistics(normaliser, oracle)
    stream = rows_of_episodes(1000, 17).astype(np.float64)
    np.testing.assert_allclose(normaliser.mean.numpy(), stream.mean(0), rtol=1e-10)
    np.testing.assert_allclose(variance_of(normaliser), stream.var(0, ddof=1), rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 2**16))
def test_a_batch_is_folded_as_its_rows_one_by_one(sizes, seed):
    rows, merged, oracle = rows_of_episodes(sum(sizes), 3, seed), WelfordNormaliser((3,)), Oracle(3)
    for row in rows:
        oracle.update(row)
    for batch in np.split(rows, np.cumsum(sizes)[:-1]):
        merged.update(torch.from_numpy(batch))
    assert_same_statistics(merged, oracle)


def test_the_two_paths_are_one(monkeypatch):
    fast, slow = WelfordNormaliser((4,), time_input=True), WelfordNormaliser((4,), time_input=True)
    for i, rows in enumerate(np.split(rows_of_episodes(120, 4), 40)):
        x = torch.from_numpy(rows)[: 1 + i % 3]
        fast.update(x)
        with monkeypatch.context() as patch:
            patch.setattr(WelfordNormaliser, "_on_host", lambda self, observation: False)
            slow.update(x)
            expected = slow(x)
        assert torch.equal(fast(x), expected) or i % 3  # sums of three may be taken in any order
        torch.testing.assert_close(fast(x), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fast.state_dict(), slow.state_dict(), rtol=1e-13, atol=1e-13)


def test_the_first_observation_becomes_zero_and_the_variance_starts_at_one(path):
    normaliser = WelfordNormaliser((3,))
    x = torch.tensor([[5.0, -0.3, 1e6]])
    torch.testing.assert_close(normaliser(x), x, rtol=1e-7, atol=0)  # nothing was seen yet
    normaliser.update(x)
    assert torch.equal(normaliser(x), torch.zeros(1, 3))
    torch.testing.assert_close(normaliser(x + 2), torch.full((1, 3), 2.0))
    normaliser.update(x)  # two of the same: a variance of 0, and only the epsilon is left
    assert torch.equal(normaliser(x), torch.zeros(1, 3))
    torch.testing.assert_close(normaliser(x + 2), torch.full((1, 3), 2e4))


def test_nothing_is_clipped(path):
    normaliser = WelfordNormaliser((1,))
    normaliser.update(torch.tensor([[-1.0], [1.0]]))
    far = torch.tensor([[1e6]])
    torch.testing.assert_close(normaliser(far), far / 2**0.5)


def test_the_time_passes_unchanged(path):
    timed, plain = WelfordNormaliser((4,), time_input=True), WelfordNormaliser((3,))
    time = torch.linspace(-0.5, 0.5, 50)[:, None]
    rows = torch.from_numpy(rows_of_episodes(50, 3))
    for row, now in zip(rows, time, strict=True):
        whole = torch.cat((row, now))[None]
        kept = whole.clone()
        timed.update(whole)
        plain.update(row[None])
        got = timed(whole)
        assert got.dtype == torch.float32
        assert torch.equal(got[:, :3], plain(row[None]))
        assert torch.equal(got[:, 3:], now[None])
        assert torch.equal(whole, kept)
    assert all(torch.equal(a, b) for a, b in zip(timed.buffers(), plain.buffers(), strict=True))


def test_frames_are_normalised_per_pixel(path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 2, 5, 4), dtype=np.uint8)
    normaliser = WelfordNormaliser((2, 5, 4))
    for frame in frames:
        normaliser.update(torch.from_numpy(frame[None]))
    got = normaliser(torch.from_numpy(frames))
    assert got.dtype == torch.float32
    whole = frames.astype(np.float64)
    expected = (whole - whole.mean(0)) / np.sqrt(whole.var(0, ddof=1) + 1e-8)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_only_update_moves_the_statistics_and_what_was_given_out_stays(path):
    normaliser = WelfordNormaliser((3,))
    rows = torch.from_numpy(rows_of_episodes(10, 3))
    normaliser.update(rows)
    before = {name: value.clone() for name, value in normaliser.state_dict().items()}
    first = normaliser(rows)
    kept = first.clone()
    assert torch.equal(normaliser(torch.stack((rows, rows)))[1], kept)
    assert all(torch.equal(before[name], b) for name, b in normaliser.named_buffers())
    normaliser.update(rows * 2)
    normaliser(rows * 3)
    assert torch.equal(first, kept)


def test_the_state_goes_through_files_and_copies(path):
    normaliser, loaded = WelfordNormaliser((3,)), WelfordNormaliser((3,))
    rows = torch.from_numpy(rows_of_episodes(40, 3))
    references = dict(normaliser.named_buffers())
    normaliser.update(rows[:20])
    file = io.BytesIO()
    torch.save(normaliser.state_dict(), file)
    file.seek(0)
    kept = dict(loaded.named_buffers())
    loaded.load_state_dict(torch.load(file))
    assert set(kept) == {"count", "mean", "squares"}
    assert {b.dtype for b in kept.values()} == {torch.float64}
    copied = copy.deepcopy(normaliser)
    for row in rows[20:]:
        for module in (normaliser, loaded, copied):
            module.update(row[None])
    for module in (loaded, copied):
        assert torch.equal(module(rows), normaliser(rows))
        assert module.count.item() == 40
    # in place: whoever holds a buffer sees the new numbers
    assert all(references[name] is b for name, b in normaliser.named_buffers())
    assert all(kept[name] is b for name, b in loaded.named_buffers())
    assert not list(normaliser.parameters())


def test_welford_takes_no_part_in_gradients():
    normaliser = WelfordNormaliser((3,))
    x = torch.randn(8, 3, requires_grad=True)
    normaliser.update(x)
    assert not any(buffer.requires_grad for buffer in normaliser.buffers())
    normaliser(x).sum().backward()
    torch.testing.assert_close(x.grad, (1 / x.detach().std(0)).expand(8, 3))


@pytest.mark.parametrize("device", [LAZY, CUDA, torch.device("cpu")], ids=str)
@pytest.mark.parametrize("time_input", [False, True])
def test_welford_stays_on_its_device_without_a_sync(device, time_input):
    normaliser, rows = WelfordNormaliser((3,), time_input=time_input), torch.randn(4, 3)
    with fake_device(device) as mode:
        claim_module(mode, normaliser)
        x = claim(mode, rows)
        for batch in (x, x.narrow(0, 0, 1)):
            normaliser.update(batch)
            assert normaliser(batch).device == device
        assert {b.device for b in normaliser.buffers()} == {device}


def test_welford_compiles_into_one_graph():
    torch._dynamo.reset()
    plain, compiled = (
        WelfordNormaliser((4,), time_input=True),
        WelfordNormaliser((4,), time_input=True),
    )

    def both(normaliser, x):
        normaliser.update(x)
        return normaliser(x)

    fast = torch.compile(both, backend="aot_eager", fullgraph=True)
    for rows in np.split(rows_of_episodes(12, 4), 4):
        x = torch.from_numpy(rows)
        torch.testing.assert_close(fast(compiled, x), both(plain, x), rtol=1e-6, atol=1e-6)
    torch._dynamo.reset()
