"""``openwork::sparse_chain`` against dense products: numbers, gradients, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.api import in_turn
from plugins.execution.linear import dense_product, native_product, op
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.pattern.build import pattern_of
from tests.plugins.execution.linear.sparse_pairs import (
    WAYS,
    InTurn,
    chains,
    kept,
    pair,
    random_mask,
)

torch.set_num_threads(1)
TOLERANCE = {torch.float64: (1e-12, 1e-12), torch.float32: (2e-4, 2e-5)}


def gradients(module, x, upstream):
    names, parameters = zip(*module.named_parameters(), strict=True)
    y = module(x)
    found = torch.autograd.grad(y, [x, *parameters], upstream)
    return y, dict(zip(["x", *names], found, strict=True))


def assert_equal_chains(dense, compact, x, dtype):
    rtol, atol = TOLERANCE[dtype]
    upstream = torch.randn(
        *x.shape[:-1],
        compact.layers[-1 if type(compact.layers[-1]) is SparseLinear else -2].out_features,
        dtype=dtype,
    )
    (y, want), (got_y, got) = (gradients(m, x, upstream) for m in (dense, compact))
    torch.testing.assert_close(got_y, y, rtol=rtol, atol=atol)
    scale = max(1.0, len(x)) ** 0.5
    for name, gradient in got.items():
        expected = want["x"] if name == "x" else kept(compact, name, want[name])
        torch.testing.assert_close(
            gradient, expected, rtol=rtol, atol=atol * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@st.composite
def cases(draw):
    count = draw(st.integers(1, 3))
    size = st.integers(1, 70)
    return {
        "widths": draw(st.lists(size, min_size=count + 1, max_size=count + 1)),
        "relu": draw(st.lists(st.booleans(), min_size=count, max_size=count)),
        "bias": draw(st.lists(st.booleans(), min_size=count, max_size=count)),
        "densities": draw(
            st.lists(
                st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5, 1.0]), min_size=count, max_size=count
            )
        ),
        "dtype": draw(st.sampled_from([torch.float64, torch.float32])),
    }


BATCHES = st.sampled_from([1, 2, 7, 15, 16, 17, 31, 33, 64, 65, 200, 1024])


@pytest.mark.parametrize("native", WAYS)
@given(case=cases(), batch=BATCHES, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_outputs_and_every_gradient_are_those_of_dense_products(native, case, batch, seed):
    torch.manual_seed(seed)
    dense, compact = chains(**case, native=native)
    x = torch.randn(batch, case["widths"][0], dtype=case["dtype"], requires_grad=True)
    assert_equal_chains(dense, compact, x, case["dtype"])


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("kind", ["empty row", "empty column", "full", "one", "blocks", "wide"])
def test_unusual_masks(native, kind):
    torch.manual_seed(0)
    mask = random_mask(48, 32, 0.3)
    if kind == "empty row":
        mask[5] = False
    elif kind == "empty column":
        mask[:, 7] = False
    elif kind == "full":
        mask[:] = True
    elif kind == "one":
        mask[:] = False
        mask[3, 9] = True
    elif kind == "blocks":
        mask = (torch.rand(3, 2) < 0.5).repeat_interleave(16, 0).repeat_interleave(16, 1)
        mask[:16, :16] = True
    else:
        mask = random_mask(300, 600, 0.05)
    dense, compact = pair(mask, native=native)
    assert compact.pattern.kind == (kind in ("blocks", "full"))
    x = torch.randn(37, mask.shape[1], dtype=torch.float64, requires_grad=True)
    assert_equal_chains(InTurn([dense, nn.ReLU()]), InTurn([compact, nn.ReLU()]), x, x.dtype)


def test_a_wrong_number_would_be_seen(monkeypatch):
    """The comparison above fails when one weight's gradient is off."""
    torch.manual_seed(0)
    dense, compact = chains([6, 9, 4], [True, False], [0.5, 0.5], native=False)
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert_equal_chains(dense, compact, x, x.dtype)
    right = dense_product.gathered

    def wrong(layer, matrix):
        found = right(layer, matrix)
        found[-1] *= 1 + 1e-9
        return found

    monkeypatch.setattr(dense_product, "gathered", wrong)
    with pytest.raises(AssertionError, match="weight"):
        assert_equal_chains(dense, compact, x, x.dtype)


@pytest.mark.parametrize("native", WAYS)
def test_the_derivative_of_relu_at_zero_is_zero_and_nan_passes_on(native):
    dense, compact = chains([2, 2], [True], [1.0], native=native, bias=[False])
    x = torch.tensor([[0.0, 0.0], [1.0, float("nan")]], dtype=torch.float64, requires_grad=True)
    (want_y, want), (y, got) = (
        gradients(m, x, torch.ones(2, 2, dtype=x.dtype)) for m in (dense, compact)
    )
    torch.testing.assert_close(y, want_y, equal_nan=True)
    assert y[1].isnan().all()
    assert not got["x"][0].any()
    torch.testing.assert_close(got["x"], want["x"], equal_nan=True)


@pytest.mark.skipif(native_product.available() is not None, reason="kernels were not built")
@pytest.mark.parametrize("batch", [1, 50, 300])
def test_bitwise_the_same_for_one_and_two_threads(batch):
    torch.manual_seed(0)
    _, compact = chains([70, 300, 40], [True, False], [0.1, 0.1], dtype=torch.float32)
    x = torch.randn(batch, 70, requires_grad=True)
    upstream = torch.randn(batch, 40)
    try:
        one = gradients(compact, x, upstream)
        torch.set_num_threads(2)
        two = gradients(compact, x, upstream)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(one[1][name], two[1][name]) for name in one[1])


@pytest.mark.parametrize("native", WAYS)
def test_bfloat16_rounds_factors_and_sums_in_float32(native):
    torch.manual_seed(0)
    mask = random_mask(60, 50, 0.3)
    dense, compact = pair(mask, native=native, bf16=True, dtype=torch.float32)

    def rounded(tensor):
        return tensor.detach().bfloat16().double()

    x = torch.randn(40, 50, requires_grad=True)
    upstream = torch.randn(40, 60)
    y = compact(x)
    want = rounded(x) @ rounded(dense.weight).t() + dense.bias.double()
    torch.testing.assert_close(y.double(), want, rtol=1e-5, atol=1e-5)
    assert (y - dense(x)).abs().max() > 1e-3  # so it did round
    dx, dweight, dbias = torch.autograd.grad(y, [x, compact.weight, compact.bias], upstream)
    assert {t.dtype for t in (y, dx, dweight, dbias)} == {torch.float32}
    torch.testing.assert_close(
        dx.double(), rounded(upstream) @ rounded(dense.weight), rtol=1e-5, atol=1e-5
    )
    want = compact.compacted(rounded(upstream).t() @ rounded(x))
    torch.testing.assert_close(dweight.double(), want, rtol=1e-5, atol=1e-5)
    want = rounded(upstream).sum(0)
    torch.testing.assert_close(dbias.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(native_product.available() is not None, reason="kernels were not built")
def test_both_products_of_a_chain_in_bfloat16_are_alike():
    torch.manual_seed(0)
    _, compact = chains([50, 60, 40], [True, True], [0.3, 0.3], dtype=torch.float32)
    x, upstream = torch.randn(30, 50, requires_grad=True), torch.randn(30, 40)
    found = []
    for native in (True, False):
        for layer in compact.layers[::2]:
            layer.native, layer.bf16 = native, True
        found.append(gradients(compact, x, upstream))
    (y, native), (densified_y, densified) = found

    def error(a, b):
        return ((a - b).norm() / b.norm()).item()

    # A sum's last bit may decide how a hidden number is rounded.
    assert error(y, densified_y) < 1e-3
    assert all(error(native[name], densified[name]) < 1e-3 for name in native)


@pytest.fixture
def asked(monkeypatch):
    """What every backward pass was asked for: ``(need_x, need)``."""
    seen = []
    for ways in (native_product, dense_product):
        right = ways.backward

        def record(*args, right=right, need_x, need, **options):
            seen.append((need_x, list(need)))
            return right(*args, need_x=need_x, need=need, **options)

        monkeypatch.setattr(ways, "backward", record)
    return seen


@pytest.mark.parametrize("native", WAYS)
def test_only_what_is_wanted_is_computed(native, asked):
    _, compact = chains([6, 9, 4], [True, False], [0.5, 0.5], native=native)
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    compact(x).sum().backward()
    compact(x.detach()).sum().backward()
    compact.requires_grad_(False)
    compact(x).sum().backward()
    compact.layers[2].bias.requires_grad_(True)
    bias = compact.layers[2].bias
    (gradient,) = torch.autograd.grad(compact(x.detach()).sum(), [bias])
    assert asked == [
        (True, [True] * 2),
        (False, [True] * 2),
        (True, [False] * 2),
        (False, [False, True]),
    ]
    assert gradient.eq(5).all()


def test_without_gradients_nothing_is_kept(monkeypatch):
    kept_tapes = []
    right = dense_product.forward
    monkeypatch.setattr(
        dense_product,
        "forward",
        lambda *a, keep, **o: kept_tapes.append(keep) or right(*a, keep=keep, **o),
    )
    _, compact = chains([6, 4], [False], [0.5], native=False)
    x = torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        compact(x)
    compact(x)
    assert kept_tapes == [False, True]


@pytest.mark.parametrize("native", WAYS)
def test_shapes_and_layouts_of_the_input(native):
    dense, compact = pair(random_mask(4, 6, 0.5), native=native)
    for x in (
        torch.randn(6, dtype=torch.float64),
        torch.randn(2, 3, 6, dtype=torch.float64),
        torch.randn(6, 5, dtype=torch.float64).t(),
        torch.randn(5, 12, dtype=torch.float64)[:, ::2],
        torch.randn(0, 6, dtype=torch.float64),
    ):
        torch.testing.assert_close(compact(x), dense(x))
    x = torch.randn(0, 6, dtype=torch.float64, requires_grad=True)
    compact(x).sum().backward()
    assert x.grad.shape == (0, 6)
    assert not compact.weight.grad.any()
    # A gradient that repeats one number has strides of zero.
    dense(torch.ones(3, 6, dtype=torch.float64)).sum().backward()
    compact.zero_grad()
    compact(torch.ones(3, 6, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(compact.weight.grad, compact.compacted(dense.weight.grad))


@pytest.mark.parametrize("native", WAYS)
def test_a_second_derivative_is_refused_not_wrong(native):
    _, compact = chains([6, 9, 4], [True, False], [0.5, 0.5], native=native)
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(compact(x).pow(2).sum(), [x], create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        first.pow(2).sum().backward()


def arguments(layers, x, *, native=True):
    return (
        x,
        [layer.weight for layer in layers],
        [layer.bias for layer in layers],
        [layer.pattern_id for layer in layers],
        [True] * len(layers),
        [layer.out_features for layer in layers],
        True,
        op.lanes_of("cpu", x.dtype, False) if native else [],
        False,
    )


@pytest.mark.parametrize("native", WAYS)
def test_torchs_own_checks_of_an_operation(native):
    layers = [pair(random_mask(9, 6, 0.5))[1], pair(random_mask(4, 9, 0.5))[1]]
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(
        torch.ops.openwork.sparse_chain.default, arguments(layers, x, native=native)
    )


def test_what_does_not_belong_together_is_refused():
    layer, other = (pair(random_mask(4, 6, 0.5))[1] for _ in "ab")
    wider = pair(random_mask(4, 7, 0.5))[1]
    x = torch.randn(5, 6, dtype=torch.float64)
    layer.pattern_id = wider.pattern_id
    with pytest.raises(ValueError, match="another layer"):
        layer(x)
    layer.pattern_id = other.pattern_id
    if other.pattern.nnz != layer.pattern.nnz:
        with pytest.raises(ValueError, match="another layer"):
            layer(x)
    layer.pattern_id = torch.tensor(10**12)
    with pytest.raises(ValueError, match="no pattern has the number"):
        layer(x)
    with pytest.raises(ValueError, match="float32"):
        other(x.float())
    with pytest.raises(RuntimeError, match=r"SparseLinear.*shape \[5, 7\]"):
        other(torch.randn(5, 7, dtype=torch.float64))
    with pytest.raises(ValueError, match="another layer"):
        SparseLinear(other.pattern, nn.Parameter(torch.zeros(3)), None)


def test_layers_run_together_only_where_nobody_watches(monkeypatch):
    runs = []
    right = dense_product.forward
    monkeypatch.setattr(
        dense_product,
        "forward",
        lambda layers, *a, **o: runs.append(len(layers)) or right(layers, *a, **o),
    )
    dense, compact = chains([6, 9, 8, 4], [True, True, False], [0.5] * 3, native=False)
    x = torch.randn(5, 6, dtype=torch.float64)
    compact(x)
    assert runs == [3]
    seen = []
    for watched in (0, 1, 2, 4):
        runs.clear()
        handle = compact.layers[watched].register_forward_hook(lambda m, a, y: seen.append(y))
        torch.testing.assert_close(compact(x), dense(x))
        handle.remove()
        want = dense.layers[: watched + 1]
        torch.testing.assert_close(seen[-1], in_turn(x, *want))
        assert runs == {0: [1, 2], 1: [1, 2], 2: [1, 1, 1], 4: [2, 1]}[watched]
    runs.clear()
    everywhere = nn.modules.module.register_module_forward_hook(lambda m, a, y: None)
    compact(x)
    everywhere.remove()
    assert runs == [1, 1, 1]
    mixed = InTurn([compact.layers[0], nn.ReLU(), nn.Tanh(), compact.layers[2]])
    runs.clear()
    mixed(x)
    assert runs == [1, 1]


def test_patterns_are_let_go_with_their_layers():
    layer = pair(random_mask(4, 6, 0.5), native=False)[1]
    layer(torch.randn(2, 6, dtype=torch.float64))
    before = len(dense_product._positions)
    pattern = pattern_of(random_mask(4, 6, 0.5))
    dense_product.positions(pattern, torch.device("cpu"))
    assert len(dense_product._positions) == before + 1
    del pattern
    assert len(dense_product._positions) == before
