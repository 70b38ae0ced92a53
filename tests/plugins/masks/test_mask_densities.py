"""Mask densities, against the published ones and against bisection."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.masks.densities import (
    InfeasibleError,
    Shape,
    erdos_renyi,
    expected_densities,
    matches,
    uniform,
)


def simba(inputs: int, width: int, blocks: int, heads: list[int]) -> dict[str, Shape]:
    """Shapes of a SimBa network, written out from its description."""
    shapes: dict[str, Shape] = {"input": (width, inputs), "input.bias": (width,)}
    for i in range(blocks):
        shapes |= {f"norm{i}.weight": (width,), f"norm{i}.bias": (width,)}
        shapes |= {f"block{i}.up": (4 * width, width), f"block{i}.up.bias": (4 * width,)}
        shapes |= {f"block{i}.down": (width, 4 * width), f"block{i}.down.bias": (width,)}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    for i, n in enumerate(heads):
        shapes |= {f"head{i}": (n, width), f"head{i}.bias": (n,)}
    return shapes


def humanoid_actor(width: float = 1, depth: int = 1) -> dict[str, Shape]:
    return simba(67, round(128 * width), depth, [21, 21])


def humanoid_critic(width: float = 1, depth: int = 1) -> dict[str, Shape]:
    return simba(67 + 21, round(512 * width), 2 * depth, [1])


SMALL: dict[str, Shape] = {
    "conv.weight": (8, 3, 3, 3),
    "conv.bias": (8,),
    "up.weight": (40, 20),
    "up.bias": (40,),
    "head.weight": (4, 40),
    "head.bias": (4,),
}


# Ma et al. 2025, recomputed with their code's rule: input, block kernels, heads.
TABLE = [
    (humanoid_actor(), 0.5, 1, 0.442, 1),
    (humanoid_actor(), 0.8, 0.359, 0.154, 0.874),
    (humanoid_actor(), 0.9, 0.171, 0.073, 0.416),
    (humanoid_critic(), 0.5, 1, 0.494, 1),
    (humanoid_critic(), 0.8, 1, 0.190, 1),
    (humanoid_critic(), 0.9, 0.511, 0.094, 1),
    (humanoid_actor(5), 0.5, 1, 0.488, 1),
    (humanoid_actor(5), 0.8, 1, 0.181, 1),
    (humanoid_actor(5), 0.9, 0.701, 0.083, 1),
    (humanoid_critic(5), 0.5, 1, 0.499, 1),
    (humanoid_critic(5), 0.8, 1, 0.198, 1),
    (humanoid_critic(5), 0.9, 1, 0.0977, 1),
    (humanoid_actor(4, 3), 0.92, 0.503, 0.073, 1),
    (humanoid_critic(4, 3), 0.92, 1, 0.079, 1),
]


@pytest.mark.parametrize(("shapes", "sparsity", "inputs", "blocks", "heads"), TABLE)
def test_densities_are_the_published_ones(shapes, sparsity, inputs, blocks, heads):
    densities = expected_densities(shapes, sparsity)
    for name, shape in shapes.items():
        expected = next(
            value
            for part, value in (("input", inputs), ("block", blocks), ("head", heads), ("norm", 1))
            if name.startswith(part)
        )
        if len(shape) == 1:
            expected = 1
        assert densities[name] == pytest.approx(expected, abs=6e-4), name


@pytest.mark.parametrize(
    ("shapes", "expected"), [(humanoid_actor(), 0.0918), (humanoid_critic(5), 0.0996)]
)
def test_share_kept_in_kernels_is_the_published_one(shapes, expected):
    densities = expected_densities(shapes, 0.9)
    kernels = {name: math.prod(s) for name, s in shapes.items() if len(s) > 1}
    share = sum(densities[name] * n for name, n in kernels.items()) / sum(kernels.values())
    assert share == pytest.approx(expected, abs=5e-5)


shape_lists = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=7,
)


def spent(densities: dict[str, float], shapes: dict[str, Shape]) -> float:
    return sum(densities[name] * math.prod(shape) for name, shape in shapes.items())


@settings(max_examples=60, deadline=None)
@given(shapes=shape_lists, share=st.floats(0.01, 1))
def test_erdos_renyi_is_what_bisection_finds(shapes, share):
    named = {str(i): shape for i, shape in enumerate(shapes)}
    budget = share * sum(map(math.prod, shapes))
    got = erdos_renyi(named, budget)

    def at(eps: float) -> dict[str, float]:
        return {n: min(1.0, eps * sum(s) / math.prod(s)) for n, s in named.items()}

    low, high = 0.0, max(math.prod(s) / sum(s) for s in shapes)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(at(middle), named) < budget else (low, middle)
    assert got == pytest.approx(at(high), rel=1e-9)
    assert spent(got, named) == pytest.approx(budget)


@settings(max_examples=50, deadline=None)
@given(
    shapes=shape_lists,
    vectors=st.lists(st.integers(1, 20), max_size=4),
    sparsity=st.floats(0, 0.99),
    counted=st.sampled_from(["all", "kernels"]),
    rule=st.sampled_from([erdos_renyi, uniform]),
)
def test_the_budget_is_spent(shapes, vectors, sparsity, counted, rule):
    named: dict[str, Shape] = {f"k{i}": shape for i, shape in enumerate(shapes)}
    named |= {f"v{i}": (n,) for i, n in enumerate(vectors)}
    counting = {n: s for n, s in named.items() if counted == "all" or len(s) > 1}
    goal = sum(n - math.floor(sparsity * n) for n in map(math.prod, counting.values()))
    try:
        densities = expected_densities(named, sparsity, counted, rule=rule)
    except InfeasibleError:
        assert counted == "all"
        assert goal <= sum(vectors)
        return
    assert spent(densities, counting) == pytest.approx(goal)
    assert all(0 < density <= 1 for density in densities.values())
    assert all(densities[name] == 1 for name, shape in named.items() if len(shape) == 1)


def test_uniform_gives_all_kernels_one_density():
    densities = expected_densities(SMALL, 0.75, "kernels", rule=uniform)
    kernels = [densities[name] for name, shape in SMALL.items() if len(shape) > 1]
    assert kernels == pytest.approx([0.25] * 3)
    assert len(set(kernels)) == 1
    counted = expected_densities(SMALL, 0.75, "all", rule=uniform)["up.weight"]
    total = sum(map(math.prod, SMALL.values()))
    assert counted == pytest.approx((0.25 * total - 52) / (total - 52), rel=1e-3)


def test_a_layer_and_its_transpose_get_one_density():
    flipped = {name: shape[::-1] for name, shape in humanoid_critic().items()}
    got, expected = expected_densities(flipped, 0.9), expected_densities(humanoid_critic(), 0.9)
    assert got == pytest.approx(expected)


def test_patterns_stay_dense_and_out_of_the_budget():
    densities = expected_densities(SMALL, 0.8, dense=("head", "conv.*"))
    assert densities["head.weight"] == densities["conv.weight"] == 1
    alone = {name: SMALL[name] for name in ("up.weight", "up.bias")}
    assert densities["up.weight"] == expected_densities(alone, 0.8)["up.weight"]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("members.0.head.weight", True),
        ("members.*.head", True),
        ("members", True),
        ("*.weight", True),
        ("head", False),
        ("members.?.trunk", False),
        ("Members*", False),
    ],
)
def test_patterns(pattern, fits):
    assert matches("members.0.head.weight", (pattern,)) == fits
    assert not matches("members.0.head.weight", ())


@pytest.mark.parametrize("rule", [erdos_renyi, uniform])
def test_the_largest_sparsity_is_the_largest(rule):
    with pytest.raises(InfeasibleError) as caught:
        expected_densities(SMALL, 0.99, rule=rule)
    largest = caught.value.largest
    assert largest is not None
    densities = expected_densities(SMALL, largest, rule=rule)
    assert all(density > 0 for density in densities.values())
    with pytest.raises(InfeasibleError):
        expected_densities(SMALL, largest + 0.003, rule=rule)


def test_the_largest_sparsity_leaves_out_what_stays_dense():
    shapes: dict[str, Shape] = {"weight": (90, 100), "bias": (1000,)}  # nine tenths are kernel
    with pytest.raises(InfeasibleError) as caught:
        expected_densities(shapes, 0.95)
    assert caught.value.largest == 0.899
    assert expected_densities(shapes, 0.95, "kernels")["weight"] == pytest.approx(0.05)
