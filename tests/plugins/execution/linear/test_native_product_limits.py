"""The compiled batch kernels: numbers that are none, bfloat16, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from plugins.execution.linear import native_product
from plugins.execution.pattern.build import pattern_of
from tests.plugins.execution.linear.sparse_chains import (
    LEVELS,
    blocks,
    chain,
    compiled,
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


# --- not numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["x", "weight", "second weight", "bias", "dy"])
@pytest.mark.parametrize("relu", [False, True])
def test_what_is_not_finite_goes_where_it_does_densely(level, whole, value, place, relu):
    """Wherever a dense layer of kept weights has NaN or infinity, and nowhere else.

    The batch leaves lanes empty: nothing may come out of them. (Sums of one sign stay infinite,
    where one zero times infinity would make them NaN.)
    """
    torch.manual_seed(0)
    use(level)
    mask = blocks(random_mask(2, 3, 0.5)) if whole else random_mask(32, 48, 0.3)
    layers = chain([mask, random_mask(6, 32, 1.0)], [relu, False])
    x, dy = torch.rand(21, 48).double() + 0.1, torch.rand(21, 6).double() + 0.1
    row, column = (int(i) for i in mask.nonzero()[3])
    if place == "x":
        x[4, column] = value
    elif place == "weight":
        layers.matrices[0][row, column] = value
    elif place == "second weight":
        layers.matrices[1][2, row] = value
    elif place == "bias":
        layers.biases[0][row] = value
    else:
        dy[4, 2] = value
    kept = expected_without_removed(layers, x, dy)
    for ours, theirs in zip(flat(compiled(layers, x, dy)), flat(kept), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)


def expected_without_removed(layers, x, dy):
    """As :func:`dense`, but a removed weight takes no part: 0 times infinity would be NaN."""
    first, second = (m.clone().requires_grad_() for m in layers.matrices)
    b1, b2 = (b.clone().requires_grad_() for b in layers.biases)
    x = x.clone().requires_grad_()
    terms = []
    for i, mask in enumerate(layers.masks[0]):
        kept = mask.nonzero()[:, 0]
        terms.append(x[:, kept] @ first[i, kept] + b1[i])
    hidden = torch.stack(terms, 1)
    hidden = hidden.relu() if layers.relu[0] else hidden
    y = hidden @ second.T + b2
    y.backward(dy)
    weights = [s.compacted(m.grad) for s, m in zip(layers.patterns, (first, second), strict=True)]
    return y.detach(), x.grad, weights, [b1.grad, b2.grad]


# --- bfloat16 --------------------------------------------------------------------------------


def rounded(tensor):
    return tensor.float().bfloat16().double()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("whole", [False, True])
def test_factors_of_products_rounded_to_bfloat16(level, whole):
    torch.manual_seed(0)
    use(level)
    mask = blocks(random_mask(3, 2, 0.5)) if whole else random_mask(48, 32, 0.3)
    layers = chain([mask, random_mask(11, 48, 0.2)], [True, False])
    x, dy = torch.randn(40, 32), torch.randn(40, 11)
    first, second = (rounded(m) for m in layers.matrices)
    hidden = rounded(F.linear(rounded(x), first, layers.biases[0]).relu())
    y = F.linear(hidden, second, layers.biases[1])
    dhidden = rounded(rounded(dy) @ second * (hidden > 0))
    weights = [
        layers.patterns[0].compacted(dhidden.T @ rounded(x)),
        layers.patterns[1].compacted(rounded(dy).T @ hidden),
    ]
    wanted = y, dhidden @ first, weights, [dhidden.sum(0), rounded(dy).sum(0)]
    # Where a sum lies between two bfloat16, float and double may round it apart: by one part in
    # 256 of one factor of few. Unrounded factors are off by more, everywhere.
    got = compiled(layers, x, dy, torch.float32, bf16=True)
    for ours, theirs in zip(flat(got), flat(wanted), strict=True):
        off = (ours.double() - theirs).abs() > 1e-5 * theirs.abs().max()
        assert off.double().mean() < 0.02


def test_bfloat16_of_every_kind_of_number():
    """As PyTorch rounds: ties to even, overflow to infinity, NaN stays NaN."""
    bits = torch.arange(-(2**31), 2**31, 65521 * 8, dtype=torch.int64).to(torch.int32)
    x = torch.cat([bits, torch.tensor([0x3F808000, 0x3F818000, 0x7FC00001, 0x7F800001])])
    x = x.to(torch.int32).view(torch.float32)[:, None]
    pattern = pattern_of(torch.ones(1, 1, dtype=torch.bool))
    y, _ = native_product.forward(
        [pattern], [torch.ones(1)], [None], [False], x, keep=False, bf16=True
    )
    torch.testing.assert_close(y, x.bfloat16().float(), rtol=0, atol=0, equal_nan=True)


# --- what is refused -------------------------------------------------------------------------


def test_sizes_and_types_are_checked():
    layers = chain([random_mask(6, 5, 0.5), random_mask(3, 6, 0.5)], [True, False])
    weights = layers.weights(torch.float32)
    patterns, x = layers.patterns, torch.ones(2, 5)

    def refused(match, patterns=patterns, weights=weights, biases=(None, None), x=x, **options):
        with pytest.raises(ValueError, match=match):
            native_product.forward(
                patterns, weights, biases, [True, False][: len(patterns)], x, keep=True,
                **options,
            )  # fmt: skip

    refused("shape", x=torch.ones(2, 6))
    refused("B >= 1", x=torch.ones(0, 5))
    refused("B >= 1", x=torch.ones(5))
    refused("float32 or float64", x=torch.ones(2, 5, dtype=torch.float16))
    refused("contiguous", x=torch.ones(5, 2).T)
    refused("must be torch.float64", x=x.double())
    refused("shape", weights=[weights[0], weights[0]])
    refused("must be torch.float32", weights=[weights[0], weights[1].double()])
    refused("as many", weights=weights[:1])
    refused("cannot follow", patterns=patterns[::-1], weights=weights[::-1], x=torch.ones(2, 6))
    refused("bias", biases=(torch.ones(5), None))
    double = layers.weights(torch.float64)
    refused("float32 weights", weights=double, x=x.double(), bf16=True)


def test_gradients_of_another_batch_or_tape_are_refused():
    layers = chain([random_mask(6, 5, 0.5)], [True])
    weights, x = layers.weights(torch.float32), torch.ones(2, 5)
    _, tape = native_product.forward(layers.patterns, weights, [None], [True], x, keep=True)
    for batch, dy, kept in (
        (3, torch.ones(2, 6), tape),
        (2, torch.ones(2, 5), tape),
        (2, torch.ones(2, 6), tape[:-1]),
        (2, torch.ones(2, 6), tape.double()),
    ):
        with pytest.raises(ValueError, match="shape|batch|must be"):
            native_product.backward(
                layers.patterns, weights, [True], kept, batch, dy, need_x=True, need=[True]
            )
