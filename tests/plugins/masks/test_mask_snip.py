"""SNIP against its definition: gates on the weights of a plain network, differentiated."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from core.api import BatchOptions, DynamicMasks, RunStopped, UserError
from core.training.mask_updates import MaskUpdates, View
from core.training.recent_transitions import RecentTransitions
from plugins.masks.densities import erdos_renyi, expected_densities, uniform
from tests.plugins.masks.mask_schemes import COMPONENTS, best, build, count, rng
from tests.support.intervened import assert_masked, make_agent, train, transitions
from tests.support.views import make_view

SPARSITY = 0.6
RULES = {"erdos_renyi": erdos_renyi, "uniform": uniform}


def gated(network, objective):
    """``|d objective(c * w) / d c|`` at ``c = 1``, of matrices: what SNIP ranks by."""
    values = {name: p.detach() for name, p in network.named_parameters()}
    gates = {n: torch.ones_like(v, requires_grad=True) for n, v in values.items() if v.ndim > 1}
    gated_values = {n: v * gates[n] if n in gates else v for n, v in values.items()}
    found = torch.autograd.grad(
        objective(lambda *inputs: functional_call(network, gated_values, inputs)),
        list(gates.values()),
    )
    return {name: g.abs() for name, g in zip(gates, found, strict=True)}


def shapes_of(network):
    return {name: tuple(p.shape) for name, p in network.named_parameters()}


def most_sensitive(network, sensitivity, sparsity=SPARSITY):
    """One threshold over all matrices, by sorting; each keeps its best."""
    densities = expected_densities(shapes_of(network), sparsity, rule=uniform)
    wanted = round(sum(densities[name] * s.numel() for name, s in sensitivity.items()))
    lifted = {}
    for name, score in sensitivity.items():
        lifted[name] = score.flatten().clone()
        lifted[name][score.argmax()] = torch.inf
    chosen = best(torch.cat(list(lifted.values())), wanted)
    parts = np.split(chosen, np.cumsum([len(part) for part in lifted.values()])[:-1])
    return {n: part.reshape(sensitivity[n].shape) for n, part in zip(lifted, parts, strict=True)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, mask in found.items():
        assert np.array_equal(mask.numpy(), expected[name]), name


# --- a plain network --------------------------------------------------------------------


class PlainView:
    """What the scheme sees of a plain network with a squared loss."""

    role, frame, masks = "critic", 0, {}

    def __init__(self, network, inputs, targets):
        self.network, self.inputs, self.targets = network, inputs, targets
        self.shapes = {n: p.shape for n, p in network.named_parameters()}
        self.generator = rng()

    def weight(self, name):
        return self.network.get_parameter(name).detach()

    def gradients(self):
        named = {n: p for n, p in self.network.named_parameters() if p.ndim > 1}
        loss = nn.functional.mse_loss(self.network(self.inputs), self.targets)
        return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def plain(seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(6, 14), nn.ReLU(), nn.Linear(14, 9), nn.ReLU(), nn.Linear(9, 1)
    )
    return PlainView(network, torch.randn(32, 6), torch.randn(32, 1))


@pytest.mark.parametrize("seed", range(5))
def test_it_keeps_what_gates_say(seed):
    view = plain(seed)
    sensitivity = gated(
        view.network, lambda call: nn.functional.mse_loss(call(view.inputs), view.targets)
    )
    found = build("snip", sparsity=SPARSITY).change(view)
    assert_same(found, most_sensitive(view.network, sensitivity))


@pytest.mark.parametrize("distribution", RULES)
def test_layer_by_layer_too(distribution):
    view = plain()
    found = build("snip", sparsity=SPARSITY, distribution=distribution).change(view)
    densities = expected_densities(shapes_of(view.network), SPARSITY, rule=RULES[distribution])
    gradients = view.gradients()
    assert found.keys() == {name for name, density in densities.items() if density < 1}
    for name, mask in found.items():
        score = (gradients[name] * view.weight(name)).abs()
        assert np.array_equal(mask.numpy(), best(score, count(mask.numel(), densities[name])))


def test_every_layer_keeps_a_weight():
    view = plain()
    with torch.no_grad():
        view.network[0].weight *= 1e-12
    found = build("snip", sparsity=0.85).change(view)
    assert int(found["0.weight"].sum()) == 1


def test_a_gradient_of_zero_everywhere_stops_the_run():
    view = plain()
    view.targets = view.network(view.inputs).detach()
    with pytest.raises(RunStopped, match="masks 'snip': no weight of 'critic' changes the loss"):
        build("snip", sparsity=SPARSITY).change(view)


def test_a_sparsity_out_of_reach_is_explained():
    with pytest.raises(UserError, match="masks 'snip' for 'critic': sparsity 0.95 is out of reach"):
        build("snip", sparsity=0.95, target="critic").change(plain())


# --- agents -----------------------------------------------------------------------------


def critic_objective(agent, analysed):
    """As a function of how the critic is called, by hand."""
    batch, loss = analysed.batch, agent.loss
    if not loss.targets:  # Q(lambda) in streams: TD error times value

        def stream(call):
            value = call(batch["observation"])[0]
            value = value[torch.arange(len(value)), batch["action"]]
            after = loss.critic(batch["next_observation"])[0].amax(1)
            delta = (batch["reward"] + batch["discount"] * after - value).detach()
            return -(delta * value).mean()

        return stream

    def squared(call):
        (action,) = loss.actor(batch["next_features"])
        value = loss.targets["critic"](batch["next_features"], action.tanh()).amin(0)
        target = (batch["reward"] + batch["discount"] * value).detach()
        return sum(((v - target) ** 2).mean() for v in call(batch["features"], batch["action"]))

    return squared


@pytest.mark.parametrize("kind", ["ddpg", "q"])
def test_of_an_agents_critic(kind):
    scheme = build("snip", sparsity=SPARSITY, target="critic", batch=BatchOptions(size=32))
    agent = make_agent(kind, scheme=scheme)
    if kind == "ddpg":
        agent.loss.sigma = torch.zeros_like(agent.loss.sigma)  # no noise of the target policy
    probe = make_view(agent, transitions(agent.spec, 64, seed=9))
    critic = agent.parts.modules["critic"]
    sensitivity = gated(critic, critic_objective(agent, probe.batch(scheme.batch)))
    expected = most_sensitive(critic, sensitivity)
    assert_same(scheme.change(View("critic", scheme, probe)), expected)
    list(MaskUpdates({"critic": scheme}).change(["critic"], probe))
    assert_same(dict(agent.masks.masks["critic"]), expected)
    train(agent, 2)
    assert_masked(agent)


def test_it_is_due_once_and_dense_until_then():
    scheme = build("snip", sparsity=SPARSITY)
    assert isinstance(scheme, DynamicMasks)
    assert scheme.draw({"weight": torch.ones(3, 3)}, rng()) == {}
    assert scheme.due(-1, 0)
    assert scheme.due(-1, 10**6)
    assert not scheme.due(0, 1)
    assert not scheme.due(40, 10**6)


def test_it_waits_for_its_transitions():
    scheme = build("snip", sparsity=SPARSITY, batch=BatchOptions("recent", 32))
    agent = make_agent("q", scheme=scheme)
    updates, recent = MaskUpdates({"critic": scheme}), RecentTransitions(32, 0.99)
    for there, more, pruned in ((31, 31, False), (32, 1, True)):
        recent.extend(transitions(agent.spec, more, seed=there).unsqueeze(0))
        probe = make_view(agent, recent=recent, frame=there, data=None)
        list(updates.change(updates.due(there), probe))
        assert bool(agent.masks.masks["critic"]) == pruned
    assert updates.due(1000) == []


def test_needs():
    needs = COMPONENTS["snip"].needs
    options = COMPONENTS["snip"].options
    assert needs(options(0.5)) == {"inspection"}
    replay = options(0.5, batch=BatchOptions("replay"))
    assert needs(replay) == {"inspection", "replay"}
    assert SimpleNamespace(**COMPONENTS["snip"].instead).replay
