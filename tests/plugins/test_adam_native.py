"""Adam in one native pass against PyTorch's fused kernels: the same numbers, bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plugins.optimizers import kernels
from plugins.optimizers.one_pass import OnePassAdam

torch.set_num_threads(1)
KERNELS = kernels.adam()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="built without a compiler")
FUSED_SUMS = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Whether PyTorch's kernels here are those that ours repeat bit for bit."""


def assert_same(got, wanted, exact=FUSED_SUMS):
    if not exact:
        tolerance = 1e-5 if got.dtype == torch.float32 else 1e-12
        return torch.testing.assert_close(got, wanted, rtol=tolerance, atol=0, equal_nan=True)
    integers = torch.int32 if got.dtype == torch.float32 else torch.int64
    bits = got.detach().view(integers) == wanted.detach().view(integers)
    assert bool((bits | (got.isnan() & wanted.isnan())).all())


class Pair:
    """The same parameters and targets twice: ours, and PyTorch's with a separate average."""

    def __init__(self, sizes, dtype, tau=None, scale=1.0, **options):
        self.draw = torch.Generator().manual_seed(len(sizes))
        self.scale, self.tau, self.dtype = scale, tau, dtype
        values = [self.random(size) for size in sizes]
        targets = [self.random(size) for size in sizes]
        self.ours = [nn.Parameter(value.clone()) for value in values]
        self.theirs = [nn.Parameter(value.clone()) for value in values]
        self.our_targets = [nn.Parameter(t.clone(), requires_grad=False) for t in targets]
        self.their_targets = [t.clone() for t in targets]
        decoupled = options.pop("decoupled", False)
        self.native = OnePassAdam(self.ours, decoupled=decoupled, **options)
        reference = torch.optim.AdamW if decoupled else torch.optim.Adam
        self.torch = reference(self.theirs, fused=True, **{"weight_decay": 0.0, **options})
        if tau is not None:
            assert self.native.follow(list(zip(self.our_targets, self.ours, strict=True)), tau)

    def random(self, size):
        return self.scale * torch.randn(size, generator=self.draw, dtype=self.dtype)

    def step(self, without=()):
        for index, (ours, theirs) in enumerate(zip(self.ours, self.theirs, strict=True)):
            gradient = self.random(ours.shape)
            ours.grad = None if index in without else gradient.clone()
            theirs.grad = None if index in without else gradient
        self.native.step()
        self.torch.step()
        if self.tau is not None:
            online = [theirs.detach() for theirs in self.theirs]
            torch._foreach_lerp_(self.their_targets, online, self.tau)

    def check(self, exact=FUSED_SUMS):
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            assert_same(ours, theirs, exact)
            for name, value in self.torch.state[theirs].items():
                assert_same(self.native.state[ours][name], value, exact)
        for ours, theirs in zip(self.our_targets, self.their_targets, strict=True):
            assert_same(ours, theirs, exact)


@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    decoupled=st.booleans(),
    lr=st.sampled_from([0.0, 1e-4, 3e-3, 1.0]),
    weight_decay=st.sampled_from([0.0, 1e-2, 0.3]),
    betas=st.sampled_from([(0.9, 0.999), (0.0, 0.0), (0.4, 0.95), (0.5, 0.9)]),
    eps=st.sampled_from([1e-8, 1e-3, 1e-30]),
    tau=st.sampled_from([None, 0.0, 0.005, 0.49, 0.5, 0.9, 1.0]),
    scale=st.sampled_from([1.0, 1e-4, 1e-22, 1e-40, 1e8, 1e20, 1e37]),
)
def test_the_numbers_are_those_of_the_fused_kernels(sizes, dtype, tau, scale, **options):
    pair = Pair(sizes, dtype, tau, scale, **options)
    for _ in range(3):
        pair.step()
    pair.check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decoupled", [False, True])
def test_hundreds_of_steps_of_many_entries_do_not_part(dtype, decoupled):
    pair = Pair([5_003, 1, 64], dtype, 0.005, decoupled=decoupled, weight_decay=0.01, lr=1e-2)
    for _ in range(300):
        pair.step()
    pair.check()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("place", [3, 18])  # among whole vectors, and in the rest
def test_what_is_not_finite_comes_through(bad, decoupled, place):
    pair = Pair([19], torch.float32, 0.1, decoupled=decoupled, weight_decay=0.1)
    pair.step()
    for parameters in (pair.ours, pair.theirs):
        parameters[0].data[place] = bad
    pair.step()
    pair.check()
    assert not pair.ours[0][place].isfinite()
    assert not pair.our_targets[0][place].isfinite()
    assert int(pair.ours[0].isfinite().sum()) == 18
    pair.random = lambda size: torch.full(size, bad)
    pair.step()
    pair.check()
    assert bool(pair.ours[0].isnan().all())
    assert bool(pair.our_targets[0].isnan().all())


def test_a_parameter_without_a_gradient_stays_and_its_target_follows():
    pair = Pair([9, 40, 3], torch.float32, 0.2, decoupled=True, weight_decay=0.1)
    pair.step()
    pair.check()
    pair.step(without=(1,))
    pair.check()
    steps = [float(pair.native.state[parameter]["step"]) for parameter in pair.ours]
    assert steps == [2, 1, 2]
    pair.step()
    pair.check()


def test_gradients_in_another_layout_are_read_in_the_parameters_order():
    pair = Pair([(24, 31)], torch.float32)
    gradient = torch.randn(31, 24).t()
    pair.ours[0].grad, pair.theirs[0].grad = gradient, gradient.contiguous()
    pair.native.step()
    pair.torch.step()
    pair.check()
    pair.ours[0].grad = torch.ones(1, 1).expand(24, 31)
    pair.theirs[0].grad = torch.ones(24, 31)
    pair.native.step()
    pair.torch.step()
    pair.check()


def test_groups_have_their_own_options():
    values = [torch.randn(20), torch.randn(30)]
    ends = []
    for make in (OnePassAdam, lambda groups: torch.optim.Adam(groups, fused=True)):
        ps = [nn.Parameter(value.clone()) for value in values]
        groups = [{"params": ps[:1], "lr": 0.1}, {"params": ps[1:], "weight_decay": 0.5}]
        optimizer = make(groups)
        for _ in range(3):
            for p in ps:
                p.grad = p.detach().sin()
            optimizer.step()
        ends.append(ps)
    for ours, theirs in zip(*ends, strict=True):
        assert_same(ours, theirs)


# --- threads and instruction sets -------------------------------------------------------


SIZES = (70_001, 7, 33, 90_000, 1)


def ends(threads=1, version=None, dtype=torch.float32, sizes=SIZES):
    """Weights, moments and targets after three steps, in one vector."""
    torch.set_num_threads(threads)
    if version is not None:
        assert KERNELS.openwork_adam_use(version) == version
    try:
        pair = Pair(list(sizes), dtype, 0.01, decoupled=True, weight_decay=0.1)
        for _ in range(3):
            pair.step()
    finally:
        torch.set_num_threads(1)
        KERNELS.openwork_adam_use(99)
    state = [pair.native.state[p][name] for p in pair.ours for name in ("exp_avg", "exp_avg_sq")]
    return torch.cat([t.detach().view(-1) for t in (*pair.ours, *state, *pair.our_targets)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    alone = ends(dtype=dtype)
    for threads in (2, 3, 4):
        assert torch.equal(ends(threads, dtype=dtype), alone)


@pytest.mark.parametrize("sizes", [(40_000, 1, 40_003), (40_001, 40_009), (5, 40_000, 3, 40_016)])
def test_a_share_that_begins_just_behind_a_parameter_leaves_it_alone(sizes):
    assert torch.equal(ends(2, sizes=sizes), ends(sizes=sizes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_fused_sums_the_numbers_differ_by_rounding(dtype):
    best = KERNELS.openwork_adam_use(99)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    for version in range(best):
        torch.testing.assert_close(
            ends(version=version, dtype=dtype), ends(dtype=dtype), rtol=tolerance, atol=tolerance
        )
        assert torch.equal(
            ends(version=version, dtype=dtype), ends(3, version=version, dtype=dtype)
        )
