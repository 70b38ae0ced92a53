"""Simplicity bias: the metric against sums over coefficients, the diagnostic on real networks."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import DiagnosticContext, EnvironmentSpec, NetworkContext, OptionError, UserError
from plugins.diagnostics import register_diagnostics
from plugins.diagnostics import simplicity_bias as module
from plugins.diagnostics.options import SimplicityBiasOptions
from plugins.diagnostics.simplicity_bias import complexity, simplicity_bias
from plugins.losses.options import DDPGOptions, SACOptions
from plugins.masks import register_masks
from plugins.masks.options import RandomMaskOptions
from plugins.networks import register_networks
from plugins.networks.options import MlpOptions, SimbaOptions
from tests.support.agents import PIXELS, SIMBA, build
from tests.support.inspected import lived, view_of
from tests.support.views import make_agent, make_view

torch.set_num_threads(1)
COMPONENT = {c.name: c for c in register_diagnostics()}["simplicity_bias"]


# --- the metric -------------------------------------------------------------------------


def counted(surface):
    """Coefficients summed up by rounded frequency, then the mean over frequencies."""
    n = len(surface)
    at = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    magnitude = np.abs(at @ surface @ at)
    half = n // 2
    largest = round(math.hypot(half, half))
    bins = np.zeros(largest + 1)
    for i in range(half + 1):
        for j in range(half + 1):
            bins[round(math.hypot(i, j))] += magnitude[i, j]
    bins[0] = 0
    return (bins * np.arange(largest + 1)).sum() / bins.sum() / largest


@settings(deadline=None)
@given(size=st.integers(4, 17), seed=st.integers(0, 99), shift=st.sampled_from([0.0, -3.0, 50.0]))
def test_complexity_is_the_mean_frequency(size, seed, shift):
    surface = np.random.default_rng(seed).normal(size=(size, size)) + shift
    found = complexity(torch.from_numpy(surface)).item()
    assert found == pytest.approx(counted(surface), rel=1e-9)
    scaled = complexity(torch.from_numpy(-7 * surface + 3)).item()
    assert scaled == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize(("down", "across"), [(1, 0), (0, 5), (3, 4), (10, 10)])
def test_one_wave_has_its_own_frequency(down, across):
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    wave = torch.cos(2 * math.pi * (down * rows + across * columns) / 20)
    expected = round(math.hypot(down, across)) / round(math.hypot(10, 10))
    assert complexity(wave).item() == pytest.approx(expected, rel=1e-5)


def test_outputs_are_averaged_and_constant_ones_left_out():
    def wave(at, cycles):
        return torch.cos(math.pi * cycles * at)

    def function(at):
        # 16 points from -1 to 1: a period of 32/15 fits 16 steps
        x = at * 15 / 16
        one, two = wave(x[:, 0], 2), wave(x[:, 1], 4)
        return torch.stack((one, torch.full_like(one, 0.1), two), 1)

    found = simplicity_bias(function, 3, points=16, extent=1.0)
    largest = round(math.hypot(8, 8))
    assert found.item() == pytest.approx((largest / 2 + largest / 4) / 2, rel=1e-4)
    constant = simplicity_bias(lambda at: torch.full((len(at), 2), 0.1), 2, points=16)
    assert math.isnan(constant)


def test_the_grid_spans_the_first_two_inputs(monkeypatch):
    seen = []

    def function(at):
        seen.append(at.clone())
        return at[:, :1]

    monkeypatch.setattr(module, "TOGETHER", 7)
    in_pieces = simplicity_bias(function, 4, points=5, extent=2.0)
    at = torch.cat(seen)
    assert max(map(len, seen)) == 7
    expected = [[x, y, 0, 0] for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2)]
    assert at.tolist() == expected
    monkeypatch.setattr(module, "TOGETHER", 4096)
    assert simplicity_bias(function, 4, points=5, extent=2.0) == in_pieces


# --- the diagnostic ---------------------------------------------------------------------


def measured(options, view):
    spec = view.spec
    diagnostic = COMPONENT.build(options, DiagnosticContext(spec, view.loss, {}, 0.99))
    assert diagnostic.batch is None
    return {key: float(value) for key, value in diagnostic.measure(view).items()}


def expected_of(network, sizes, options):
    """The score with every point of the grid in a loop's order, each output by itself."""
    n = options.points
    axis = np.linspace(-options.extent, options.extent, n)
    at = torch.zeros(n * n, sum(sizes))
    at[:, 0], at[:, 1] = (
        torch.from_numpy(x.ravel()) for x in np.meshgrid(axis, axis, indexing="ij")
    )
    outputs = [*network(*at.split(sizes, 1))]  # of heads, or of members
    scores = [
        1 / counted(column.detach().double().numpy().reshape(n, n))
        for output in outputs
        for column in output.T
    ]
    return np.mean(scores), len(scores)


SMALL = SimplicityBiasOptions(points=24, extent=3.0)


@pytest.mark.parametrize("masked", [False, True])
def test_heads_and_members_are_averaged(masked):
    (scheme,) = [c for c in register_masks() if c.name == "erdos_renyi"]
    schemes = [scheme.build(RandomMaskOptions(0.5), None)] if masked else []
    agent = make_agent(SACOptions(critics=2), SIMBA, schemes)
    view = make_view(agent)
    state, drawn = deepcopy(agent.learner.state_dict()), torch.get_rng_state()
    found = measured(SMALL, view)
    actor, heads = expected_of(view.networks["actor"], [5], SMALL)
    critic, members = expected_of(view.networks["critic"], [5, 3], SMALL)
    assert (heads, members) == (6, 2)
    assert found == pytest.approx({"actor": actor, "critic": critic}, rel=1e-4)
    assert torch.equal(torch.get_rng_state(), drawn)
    after = agent.learner.state_dict()["loss"]
    assert all(torch.equal(after[key], value) for key, value in state["loss"].items())
    assert all(p.grad is None and p.requires_grad for p in view.networks["critic"].parameters())


def test_new_networks_are_averaged_in_place_of_what_was_learned():
    (scheme,) = [c for c in register_masks() if c.name == "erdos_renyi"]
    agent = make_agent(DDPGOptions(), SIMBA, [scheme.build(RandomMaskOptions(0.8), None)])
    view = make_view(agent)
    options = SimplicityBiasOptions(points=24, extent=3.0, inits=3)
    torch.manual_seed(5)
    found = measured(options, view)
    torch.manual_seed(5)
    expected = {}
    for role, sizes in (("actor", [5]), ("critic", [5, 3])):
        new = [agent.parts.fresh(role) for _ in range(3)]
        for network in new:
            for name, mask in view.masks[role].items():
                assert not network.get_parameter(name)[~mask].any()
        expected[role] = np.mean([expected_of(network, sizes, options)[0] for network in new])
    assert found == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        for parameter in view.networks["actor"].parameters():
            parameter.mul_(2).add_(1)
    torch.manual_seed(5)
    assert measured(options, view) == found


@pytest.mark.parametrize("name", ["stream_ac", "stream_q"])
def test_critics_of_states_alone(name):
    learner, spec = lived(name)
    view = view_of(learner, spec)
    found = measured(SMALL, view)
    critic, outputs = expected_of(learner.loss.critic, [4], SMALL)
    assert outputs == (3 if name == "stream_q" else 1)
    assert found["critic"] == pytest.approx(critic, rel=1e-4)
    assert set(found) == ({"critic"} if name == "stream_q" else {"actor", "critic"})


def design_score(component, options, spec, inits=1):
    networks = build(register_networks(), options, NetworkContext(spec), component)
    scores = []
    for seed in range(inits):
        torch.manual_seed(seed)
        actor = networks.actor({"mean": spec.action, "std": spec.action})
        scores.append(simplicity_bias(lambda at, f=actor: torch.cat(f(at), 1), *spec.observation))
    return torch.stack(scores).mean().item()


def test_designs_score_about_as_published():
    """SimBa's actor 6.3 or 6.4, perceptrons 5.8 (Lee et al. 2025; Ma et al. 2025, figure 8)."""
    spec = EnvironmentSpec((67,), 21)  # humanoid
    simba = design_score("simba", SimbaOptions(), spec)
    perceptron = design_score("mlp", MlpOptions(), spec)
    assert 6.4 < simba < 6.9
    assert 5.6 < perceptron < 6.2
    assert simba > perceptron + 0.4


@pytest.mark.parametrize("spec", [PIXELS, EnvironmentSpec((1,), 2), EnvironmentSpec((3, 4), 2)])
def test_other_observations_are_refused_before_the_run(spec):
    with pytest.raises(UserError, match="flat observations of at least two"):
        COMPONENT.build(SimplicityBiasOptions(), DiagnosticContext(spec, None, {}, 0.99))


def test_options_are_checked():
    for wrong in ({"inits": -1}, {"points": 3}, {"extent": 0.0}, {"every": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            SimplicityBiasOptions(**wrong)
    assert SimplicityBiasOptions().every is None
    assert COMPONENT.needs == {"inspection"}
