"""The compiled batch kernels against dense matrices in double precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.execution.linear import native_product
from plugins.execution.pattern.blocks16 import Blocks16
from tests.plugins.execution.linear.sparse_chains import (
    EXACT,
    LEVELS,
    assert_close,
    assert_right,
    blocks,
    chain,
    compiled,
    dense,
    flat,
    random_mask,
    use,
)

pytestmark = pytest.mark.skipif(
    native_product.available() is not None, reason=f"compiled kernels {native_product.available()}"
)


@pytest.fixture(autouse=True)
def best_instructions():
    yield
    use(99)


# --- against dense matrices --------------------------------------------------------------

densities = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 0.6))


@settings(max_examples=60)
@given(data=st.data())
def test_chains_of_any_shape(data):
    """Odd sizes, empty rows, full and empty layers, with and without biases and ReLUs."""
    count = data.draw(st.integers(1, 3))
    sizes = data.draw(st.lists(st.integers(1, 70), min_size=count + 1, max_size=count + 1))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    pairs = list(zip(sizes[1:], sizes, strict=False))
    masks = [random_mask(*pair, data.draw(densities)) for pair in pairs]
    relu = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    layers = chain(masks, relu, bias=data.draw(st.booleans()))
    use(data.draw(st.sampled_from(LEVELS)))
    batch = data.draw(st.one_of(st.integers(1, 70), st.integers(1, 300)))
    assert_right(layers, batch, data.draw(st.sampled_from(list(EXACT))))


@settings(max_examples=20)
@given(data=st.data())
def test_blocks_and_panels_mixed(data):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    whole = [data.draw(st.booleans()) for _ in range(2)]
    a, b, c = (data.draw(st.integers(1, 4)) for _ in range(3))
    masks = [
        blocks(random_mask(n, k, 0.5)) if block else random_mask(16 * n, 16 * k, 0.3)
        for block, n, k in zip(whole, (b, c), (a, b), strict=True)
    ]
    layers = chain(masks, [True, data.draw(st.booleans())])
    use(data.draw(st.sampled_from(LEVELS)))
    assert_right(layers, data.draw(st.integers(1, 150)), data.draw(st.sampled_from(list(EXACT))))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("batch", [1, 16, 17, 64, 65, 256, 1024])
def test_batches_and_instruction_sets(level, dtype, batch):
    """More than one panel and row block each way, and a last one that is not full."""
    torch.manual_seed(0)
    use(level)
    layers = chain([random_mask(300, 70, 0.1), random_mask(40, 300, 0.04)], [True, False])
    assert_right(layers, batch, dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 513), (513, 1), (290, 600)])
def test_one_kept_weight(shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[-1, -1] = True
    assert_right(chain([mask], [False]), 5, torch.float64)


def test_blocks_are_taken_as_such():
    torch.manual_seed(0)
    layers = chain([blocks(random_mask(5, 3, 0.4)), blocks(random_mask(2, 5, 0.5))], [True, True])
    assert all(isinstance(s, Blocks16) for s in layers.patterns)
    for level in LEVELS:
        use(level)
        for batch in (1, 33, 256):
            assert_right(layers, batch, torch.float64)


def test_a_relu_passes_no_gradient_at_zero():
    """Rows that keep nothing, and have no bias, come out as exactly zero."""
    mask = torch.eye(20, dtype=torch.bool)
    mask[::2] = False
    layers = chain([mask, torch.ones(4, 20, dtype=torch.bool)], [True, True])
    layers.biases[0].zero_()
    x, dy = torch.randn(9, 20), torch.randn(9, 4)
    wanted = dense(layers, x, dy)
    assert wanted[3][0][::2].eq(0).all()
    assert_close(compiled(layers, x, dy), wanted, 1e-12)


# --- what is asked for ---------------------------------------------------------------------


def test_only_what_is_needed_is_computed_and_equal():
    torch.manual_seed(0)
    masks = [random_mask(32, 20, 0.3), blocks(random_mask(2, 2, 0.5)), random_mask(9, 32, 0.3)]
    layers = chain(masks, [True, True, False])
    x, dy = torch.randn(50, 20).double(), torch.randn(50, 9).double()
    _, dx, dweights, dbiases = compiled(layers, x, dy)
    weights = layers.weights(torch.float64)
    _, tape = native_product.forward(
        layers.patterns, weights, layers.biases, layers.relu, x, keep=True
    )
    for wanted in range(16):
        need, need_x = [bool(wanted & 1 << i) for i in range(3)], bool(wanted & 8)
        got_x, got_weights, got_biases = native_product.backward(
            layers.patterns, weights, layers.relu, tape, 50, dy, need_x=need_x, need=need
        )
        assert (got_x is not None) == need_x
        assert got_x is None or torch.equal(got_x, dx)
        for i in range(3):
            assert (got_weights[i] is not None) == (got_biases[i] is not None) == need[i]
            if need[i]:
                assert torch.equal(got_weights[i], dweights[i])
                assert torch.equal(got_biases[i], dbiases[i])


def test_no_tape_unless_asked():
    layers = chain([torch.ones(3, 4, dtype=torch.bool)], [False])
    y, tape = native_product.forward(
        layers.patterns, layers.weights(torch.float32), [None], [False], torch.ones(2, 4),
        keep=False,
    )  # fmt: skip
    assert tape.numel() == 0
    torch.testing.assert_close(y, layers.matrices[0].float().sum(1).expand(2, 3))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("whole", [False, True])
def test_same_bits_for_any_number_of_threads(level, whole):
    torch.manual_seed(0)
    use(level)
    masks = [random_mask(640, 320, 0.1), random_mask(300, 640, 0.1)]
    if whole:
        masks = [blocks(random_mask(40, 20, 0.2)), blocks(random_mask(20, 40, 0.2))]
    layers = chain(masks, [True, False])
    x, dy = torch.randn(200, masks[0].shape[1]), torch.randn(200, masks[1].shape[0])
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(list(flat(compiled(layers, x, dy, torch.float32))))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))
