"""Magnitude pruning, layer by layer and by one threshold, at the start and in training."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import DynamicMasks, MaskView, OptionError, UserError
from core.training.mask_updates import MaskUpdates
from plugins.masks.composition import highest_overall
from plugins.masks.densities import Shape, erdos_renyi, expected_densities, uniform
from plugins.masks.options import MagnitudeOptions, SnipOptions, StructureOptions
from tests.plugins.masks.mask_schemes import KERNELS, SMALL, best, build, count, drawn, rng, weights
from tests.support.intervened import assert_masked, make_agent, train, view

RULES = {"erdos_renyi": erdos_renyi, "uniform": uniform}

# --- by layer ---------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", RULES)
@settings(max_examples=15, deadline=None)
@given(sparsity=st.floats(0.05, 0.9), seed=st.integers(0, 999))
def test_each_kernel_keeps_its_largest(distribution, sparsity, seed):
    parameters = weights(seed=seed)
    masks = drawn(build("magnitude", sparsity=sparsity, distribution=distribution), parameters)
    densities = expected_densities(SMALL, sparsity, rule=RULES[distribution])
    assert masks.keys() == {name for name, density in densities.items() if density < 1}
    for name, mask in masks.items():
        wanted = count(mask.numel(), densities[name])
        assert np.array_equal(mask.numpy(), best(parameters[name].abs(), wanted))


def test_the_generator_is_not_needed():
    generator = rng()
    state = generator.get_state()
    one = dict(build("magnitude", sparsity=0.5).draw(weights(), generator))
    assert torch.equal(generator.get_state(), state)
    assert one
    assert all(
        torch.equal(m, one[n])
        for n, m in drawn(build("magnitude", sparsity=0.5), weights()).items()
    )


def test_kernels_are_looked_at_one_by_one():
    class Seen(dict):
        asked = ()

        def __getitem__(self, name):
            self.asked = (*self.asked, name)
            return super().__getitem__(name)

    parameters = Seen(weights())
    masks = build("magnitude", sparsity=0.5, distribution="uniform").draw(parameters, rng())
    assert parameters.asked == ()
    assert next(masks)[0] == "conv.weight"
    assert parameters.asked == ("conv.weight",)


def test_a_nan_is_refused():
    for distribution in ("uniform", "global"):
        parameters = weights()
        parameters["up.weight"][3, 4] = math.nan
        with pytest.raises(ValueError, match=r"scores must be numbers: some.* are NaN"):
            drawn(build("magnitude", sparsity=0.5, distribution=distribution), parameters)


# --- one threshold ----------------------------------------------------------------------


def all_sorted(scores, wanted):
    """The oracle: every kernel's best first, then the best of what is left, by sorting."""
    entries = [
        (-float(value), position, index, name)
        for position, name in enumerate(scores)
        for index, value in enumerate(scores[name].flatten())
    ]
    firsts = {name: min(e for e in entries if e[3] == name) for name in scores}
    chosen = set(firsts.values())
    for entry in sorted(entries):
        if len(chosen) >= max(wanted, len(scores)):
            break
        chosen.add(entry)
    masks = {name: np.zeros(value.numel(), bool) for name, value in scores.items()}
    for _, _, index, name in chosen:
        masks[name][index] = True
    return {name: mask.reshape(scores[name].shape) for name, mask in masks.items()}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999), levels=st.sampled_from([None, 2, 5]))
def test_one_threshold_is_that_of_sorting_all(data, seed, levels):
    sides = data.draw(
        st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5)
    )
    shapes: dict[str, Shape] = {f"k{i}": shape for i, shape in enumerate(sides)}
    scores = {name: value.abs() for name, value in weights(shapes, seed).items()}
    if levels is not None:
        scores = {
            n: torch.randint(levels, s, generator=rng(seed)).float() for n, s in shapes.items()
        }
    wanted = data.draw(st.integers(0, sum(map(math.prod, sides))))
    found = dict(highest_overall(shapes, scores.__getitem__, wanted))
    expected = all_sorted(scores, wanted)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name].numpy(), expected[name]) for name in found)


@pytest.mark.parametrize("counted", ["all", "kernels"])
def test_global_spends_the_budget_of_the_network(counted):
    parameters = weights()
    scheme = build("magnitude", sparsity=0.8, distribution="global", counted=counted)
    masks = drawn(scheme, parameters)
    assert list(masks) == KERNELS
    densities = expected_densities(SMALL, 0.8, counted, rule=uniform)
    wanted = round(sum(densities[name] * math.prod(SMALL[name]) for name in KERNELS))
    assert sum(int(mask.sum()) for mask in masks.values()) == wanted
    expected = all_sorted({name: parameters[name].abs() for name in KERNELS}, wanted)
    assert all(np.array_equal(masks[name].numpy(), expected[name]) for name in masks)
    shares = [mask.float().mean().item() for mask in masks.values()]
    assert shares[0] < shares[-1] - 0.2  # scales grow from layer to layer here


def test_no_kernel_is_left_empty():
    parameters = weights()
    parameters["conv.weight"] *= 1e-20
    masks = drawn(build("magnitude", sparsity=0.9, distribution="global"), parameters)
    largest = parameters["conv.weight"].abs().flatten().argmax()
    assert masks["conv.weight"].flatten().nonzero().flatten().tolist() == [largest]


def test_global_leaves_patterns_dense():
    masks = drawn(build("magnitude", sparsity=0.5, distribution="global", dense=("up",)), weights())
    assert list(masks) == ["conv.weight", "down.weight", "head.weight"]


@pytest.mark.parametrize("distribution", ["erdos_renyi", "global"])
def test_no_sparsity_means_no_masks(distribution):
    assert drawn(build("magnitude", sparsity=0.0, distribution=distribution), weights()) == {}


# --- structures -------------------------------------------------------------------------


def test_magnitude_in_blocks_is_the_block_scheme_by_magnitude():
    structure = StructureOptions("blocks", side=8)
    found = drawn(build("magnitude", sparsity=0.6, structure=structure), weights())
    expected = drawn(build("block", sparsity=0.6, side=8, score="magnitude"), weights())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(("sparsity", "n", "m"), [(0.75, 1, 4), (0.5, 4, 8), (2 / 3, 1, 3)])
def test_magnitude_in_groups_is_the_nm_scheme_by_magnitude(sparsity, n, m):
    found = build(
        "magnitude",
        sparsity=sparsity,
        counted="kernels",
        distribution="uniform",
        structure=StructureOptions("groups", m=m),
    )
    expected = drawn(build("nm", n=n, m=m, score="magnitude"), weights())
    masks = drawn(found, weights())
    assert masks.keys() == expected.keys()
    assert all(torch.equal(masks[name], expected[name]) for name in masks)


# --- in training ------------------------------------------------------------------------


def test_it_prunes_once_at_its_frame_and_stays_so():
    scheme = build("magnitude", sparsity=0.5, at=100)
    agent = make_agent("ddpg", scheme=scheme)
    assert isinstance(scheme, DynamicMasks)
    assert not any(agent.masks.masks.values())
    updates = MaskUpdates({"critic": scheme})
    assert [updates.due(frame) for frame in (0, 99)] == [[], []]
    assert updates.due(100) == updates.due(5000) == ["critic"]
    train(agent, 2)
    before = {n: p.detach().clone() for n, p in agent.parts.modules["critic"].named_parameters()}
    asked = view(agent)
    asked.frame = 100
    list(updates.change(["critic"], asked))
    assert updates.due(101) == updates.due(10**6) == []
    masks = agent.masks.masks["critic"]
    shapes = {name: tuple(weight.shape) for name, weight in before.items()}
    densities = expected_densities(shapes, 0.5)
    assert masks.keys() == {name for name, density in densities.items() if density < 1}
    for name, mask in masks.items():
        expected = best(before[name].abs(), count(mask.numel(), densities[name]))
        assert np.array_equal(mask.numpy(), expected)
    agent.masks.masks.pop("actor")
    assert_masked(agent)
    train(agent, 2)
    assert_masked(agent)


def test_frame_zero_is_before_the_first_update():
    scheme = build("magnitude", sparsity=0.5, at=0)
    assert scheme.due(-1, 0)
    assert not scheme.due(0, 1)
    assert not isinstance(build("magnitude", sparsity=0.5), DynamicMasks)


def test_a_change_may_be_global():
    parameters = weights()
    scheme = build("magnitude", sparsity=0.7, at=5, distribution="global")
    view: MaskView = SimpleNamespace(  # type: ignore[assignment]
        shapes={n: p.shape for n, p in parameters.items()}, weight=parameters.__getitem__
    )
    found, expected = scheme.change(view), build("magnitude", sparsity=0.7, distribution="global")
    assert drawn(scheme, parameters) == {}
    expected = drawn(expected, parameters)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


# --- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["uniform", "global"])
def test_what_cannot_be_is_explained(distribution):
    def attempt(**options):
        options = {"sparsity": 0.5, "target": "actor"} | options
        drawn(build("magnitude", distribution=distribution, **options), weights())

    with pytest.raises(
        UserError, match=r"'magnitude' for 'actor': sparsity 0.999 .* possible is 0\."
    ):
        attempt(sparsity=0.999)
    with pytest.raises(UserError, match="the pattern 'haed' of dense fits no parameter"):
        attempt(dense=("haed",))
    with pytest.raises(UserError, match="there are no weights to prune"):
        attempt(dense=("*",))


def test_a_frame_past_the_end_is_explained():
    with pytest.raises(UserError, match=r"at 500 lies past the end of the run \(500 frames\)"):
        build("magnitude", frames=500, sparsity=0.5, at=500)
    build("magnitude", frames=500, sparsity=0.5, at=499)


GROUPS = {"distribution": "uniform", "counted": "kernels", "structure": StructureOptions("groups")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity must be in \[0, 1\), got 1.0"),
        ({"at": -1}, "at must be at least 0, got -1"),
        ({"target": ""}, "target must name a network"),
        (
            {"distribution": "global", "structure": StructureOptions("blocks")},
            "distribution must not be global where structure is blocks",
        ),
        (GROUPS | {"distribution": "erdos_renyi"}, "distribution must be uniform"),
        (GROUPS | {"counted": "all"}, "counted must be kernels where structure is groups"),
        (
            GROUPS | {"sparsity": 0.8},
            "sparsity must be one of 0.25, 0.5, 0.75 in groups of 4, got 0.8",
        ),
        (GROUPS | {"sparsity": 0.0}, "sparsity must be one of 0.25"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    options = {"sparsity": 0.5} | options
    with pytest.raises(OptionError, match=f"^{message}"):
        MagnitudeOptions(**options)
    if "at" not in options:
        with pytest.raises(OptionError, match=f"^{message}"):
            SnipOptions(**options)


@pytest.mark.parametrize("field", ["side", "m"])
def test_sizes_of_structures(field):
    with pytest.raises(OptionError, match=f"^{field} must be at least 2, got 1"):
        StructureOptions(**{field: 1})
