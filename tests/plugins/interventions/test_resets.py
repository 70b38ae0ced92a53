"""Periodic resets, and shrink and perturb, against plain accounts of each."""

from __future__ import annotations

import pytest
import torch

from plugins.interventions.networks import last_layers
from plugins.interventions.options import PeriodicResetOptions, ShrinkAndPerturbOptions
from tests.support import intervened as t

KINDS = list(t.KINDS)


def roles(kind):
    """In the order of the agent."""
    return tuple(t.make_agent(kind).parts.modules)


# --- resets -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_agent_is_a_new_one(kind):
    agent = t.make_agent(kind)
    step = t.intervention(agent, "periodic_reset", PeriodicResetOptions(every=10))
    initial = t.everything(agent)
    t.train(agent, 3)
    trained, places = t.everything(agent), t.pointers(agent)
    report = t.intervene(agent, step)
    after = t.everything(agent)
    living = 0
    for role, expected in t.fresh(agent, *roles(kind)).items():
        for name, value in expected.items():
            assert torch.equal(after[f"loss.{role}.{name}"], value), (role, name)
            if role in agent.loss.targets:
                assert torch.equal(after[f"loss.target_{role}.{name}"], value), (role, name)
            mask = agent.masks.masks[role].get(name, torch.ones_like(value))
            living += int(mask.sum())
    others = [n for n, _ in agent.loss.named_parameters() if n.startswith("temperature")]
    for name in others:
        assert not torch.equal(trained[f"loss.{name}"], initial[f"loss.{name}"])
        assert torch.equal(after[f"loss.{name}"], initial[f"loss.{name}"])
    assert report == {"parameters": living + len(others)}
    states = [name for name in after if not name.startswith("loss.")]
    assert states
    assert any(trained[name].any() for name in states)
    assert not any(after[name].any() for name in states)
    parameters = {f"loss.{name}" for name, _ in agent.loss.named_parameters()}
    statistics = [n for n in after if n.startswith("loss.") and n not in parameters]
    assert all(torch.equal(after[n], trained[n]) for n in statistics)
    assert t.pointers(agent) == places
    t.assert_masked(agent)


@pytest.mark.parametrize("kind", ["sac", "drq", "adaptive", "cnn"])
def test_after_a_reset_an_agent_learns_as_one_that_never_did(kind):
    agent, new = t.make_agent(kind), t.make_agent(kind)
    t.train(agent, 3)
    t.intervene(agent, t.intervention(agent, "periodic_reset", PeriodicResetOptions(every=10)))
    new.loss.load_state_dict(agent.loss.state_dict())
    for each in (agent, new):
        t.train(each, 3, seed=4)
    got, expected = t.everything(agent), t.everything(new)
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    t.assert_masked(agent)


@pytest.mark.parametrize("kind", ["sac", "adaptive"])
def test_optimizers_remember_if_asked_to(kind):
    agent = t.make_agent(kind)
    t.train(agent, 3)
    before = t.everything(agent)
    options = PeriodicResetOptions(every=10, optimizer=False)
    t.intervene(agent, t.intervention(agent, "periodic_reset", options))
    after = t.everything(agent)
    kept = [name for name in after if not name.startswith("loss.")]
    assert all(torch.equal(after[name], before[name]) for name in kept)
    name = next(name for name in after if name.startswith("loss.actor.trunk"))
    assert not torch.equal(after[name], before[name])


@pytest.mark.parametrize(
    ("kind", "networks"),
    [
        ("sac", ("critic",)),
        ("sac", ("temperature",)),
        ("drq", ("actor", "critic")),
        ("obgd", ("actor",)),
    ],
)
def test_what_is_not_named_is_left_alone(kind, networks):
    agent = t.make_agent(kind)
    step = t.intervention(agent, "periodic_reset", PeriodicResetOptions(at=(3,), networks=networks))
    t.train(agent, 3)
    before = t.everything(agent)
    t.intervene(agent, step)
    after = t.everything(agent)
    touched = {name for name in after if not torch.equal(after[name], before[name])}
    assert {t.role_of(name) for name in touched} == set(networks)


@pytest.mark.parametrize(
    ("kind", "role", "count", "layers"),
    [
        ("sac", "actor", 1, "heads.mean heads.log_std"),
        ("sac", "actor", 2, "heads.mean heads.log_std trunk.norm trunk.blocks.0.contract"),
        ("sac", "critic", 1, "members.0.head members.1.head"),
        ("mlp", "critic", 2, "members.0.head members.1.head members.0.trunk.2 members.1.trunk.2"),
        ("drq", "critic", 1, "members.0.head members.1.head"),
        ("drq", "actor", 3, "heads.action trunk.5 trunk.3"),
        ("drq", "actor", 4, "heads.action trunk.5 trunk.3 trunk.1 trunk.0"),
        ("drq", "encoder", 2, "layers.6 layers.4"),
        ("cnn", "actor", 2, "heads.mean heads.std trunk.7"),
    ],
)
def test_the_last_layers_of_a_network(kind, role, count, layers):
    network = t.make_agent(kind).parts.modules[role]
    names = last_layers(network, count)
    assert {name.rpartition(".")[0] for name in names} == set(layers.split())
    assert names == {
        n for n, _ in network.named_parameters() if n.rpartition(".")[0] in layers.split()
    }


@pytest.mark.parametrize("kind", ["sac", "drq", "cnn"])
def test_more_layers_than_there_are_is_all_of_them(kind):
    for network in t.make_agent(kind).parts.modules.values():
        assert last_layers(network, 99) == set(dict(network.named_parameters()))


@pytest.mark.parametrize("kind", ["sac", "drq", "adaptive"])
def test_a_reset_of_the_heads_resets_the_heads(kind):
    agent = t.make_agent(kind)
    options = PeriodicResetOptions(every=10, last=1, networks=("actor", "critic"))
    step = t.intervention(agent, "periodic_reset", options)
    t.train(agent, 3)
    before = t.everything(agent)
    t.intervene(agent, step)
    after, drawn = t.everything(agent), t.fresh(agent, "actor", "critic")
    for name, value in after.items():
        kind_of, _, rest = name.partition(".")
        role, _, path = rest.removeprefix("target_").partition(".")
        reset = role in drawn and "head" in path
        if reset and kind_of == "loss":
            assert torch.equal(value, drawn[role][path])
        elif reset and kind == "adaptive" and kind_of == "step":
            assert value > 0  # shared with the other layers
        elif reset:
            assert not value.any()
        else:
            assert torch.equal(value, before[name]), name
    t.train(agent, 2)
    t.assert_masked(agent)


def test_resets_follow_the_seed():
    def reset(seed):
        agent = t.make_agent("sac")
        t.train(agent, 2)
        step = t.intervention(agent, "periodic_reset", PeriodicResetOptions(every=10))
        t.intervene(agent, step, seed)
        return t.everything(agent)

    one, two, other = reset(1), reset(1), reset(2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    name = "loss.actor.trunk.input.weight"
    assert not torch.equal(one[name], other[name])


def test_the_temperature_goes_back_to_its_first_value_after_resuming():
    saved = t.make_agent("sac")
    t.train(saved, 3)
    resumed = t.make_agent("sac")
    step = t.intervention(resumed, "periodic_reset", PeriodicResetOptions(every=10))
    first = resumed.loss.temperature.log_alpha.item()
    resumed.learner.load_state_dict(saved.learner.state_dict())
    assert resumed.loss.temperature.log_alpha.item() != first
    t.intervene(resumed, step)
    assert resumed.loss.temperature.log_alpha.item() == first


# --- shrink and perturb -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sac", "drq", "adaptive", "q"])
def test_weights_shrink_and_are_perturbed(kind):
    agent = t.make_agent(kind)
    t.train(agent, 3)
    step = t.intervention(
        agent, "shrink_and_perturb", ShrinkAndPerturbOptions(every=10, shrink=0.75, perturb=0.1)
    )
    before, places = t.everything(agent), t.pointers(agent)
    report = t.intervene(agent, step)
    after, changed = t.everything(agent), set()
    for role, drawn in t.fresh(agent, *roles(kind)).items():
        for name, value in drawn.items():
            for prefix in ("loss.", "loss.target_"):
                full = f"{prefix}{role}.{name}"
                if full in after:
                    expected = 0.75 * before[full].double() + 0.1 * value.double()
                    torch.testing.assert_close(after[full].double(), expected, rtol=1e-6, atol=1e-7)
                    changed.add(full)
    assert all(torch.equal(after[name], before[name]) for name in set(after) - changed)
    masks = [mask for role in agent.masks.masks.values() for mask in role.values()]
    everything = sum(p.numel() for m in agent.parts.modules.values() for p in m.parameters())
    assert report == {"parameters": everything - sum(int((~mask).sum()) for mask in masks)}
    assert t.pointers(agent) == places
    t.assert_masked(agent)
    t.train(agent, 3)
    t.assert_masked(agent)


def test_shrunk_to_nothing_and_perturbed_in_full_is_a_reset():
    one, two = t.make_agent("drq"), t.make_agent("drq")
    for agent in (one, two):
        t.train(agent, 2)
    full = ShrinkAndPerturbOptions(every=10, shrink=0.0, perturb=1.0, optimizer=True)
    t.intervene(one, t.intervention(one, "shrink_and_perturb", full))
    t.intervene(two, t.intervention(two, "periodic_reset", PeriodicResetOptions(every=10)))
    got, expected = t.everything(one), t.everything(two)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_only_the_encoder_is_changed_if_it_alone_is_named():
    agent = t.make_agent("drq")
    t.train(agent, 2)
    before = t.everything(agent)
    options = ShrinkAndPerturbOptions(every=10, networks=("encoder",))
    t.intervene(agent, t.intervention(agent, "shrink_and_perturb", options))
    after = t.everything(agent)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith("loss.encoder.")}
