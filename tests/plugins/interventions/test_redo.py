"""ReDo, against what it should do worked out by hand for each network."""

from __future__ import annotations

import pytest
import torch

from core.api import BatchOptions
from plugins.interventions.options import ReDoOptions
from tests.support import intervened as t

BATCH = BatchOptions(size=64)


def redo(agent, tau=0.0, **options):
    return t.intervention(agent, "redo", ReDoOptions(every=10, tau=tau, batch=BATCH, **options))


@torch.no_grad()
def kill(agent, role, path, units):
    """Make units of a layer under ReLU zero on all inputs, and their outgoing weights not."""
    layer = agent.parts.modules[role].get_submodule(path)
    layer.weight[list(units)] = 0.0
    layer.bias[list(units)] = -1.0


@torch.no_grad()
def mlp_by_hand(agent, tau):
    """All weights after ReDo of the perceptrons, and the dormant units, worked out plainly."""
    analysed = t.view(agent).batch(BATCH)
    drawn = t.fresh(agent, "actor", "critic")
    observation, action = analysed.batch["features"], analysed.batch["action"]
    joint = torch.cat((observation, action), 1)
    expected, counts = {}, {}
    for role, inputs, prefixes in (
        ("actor", observation, {"trunk": ["heads.mean", "heads.log_std"]}),
        ("critic", joint, {f"members.{i}.trunk": [f"members.{i}.head"] for i in range(2)}),
    ):
        old = t.weights(agent.parts.modules[role])
        new = {name: value.clone() for name, value in old.items()}
        recycled, outgoing = [], []
        for prefix, heads in prefixes.items():
            x = inputs
            for layer, following in ((0, [f"{prefix}.2"]), (2, heads)):
                name = f"{prefix}.{layer}"
                x = (x @ old[f"{name}.weight"].T + old[f"{name}.bias"]).clamp(min=0)
                units = (x.mean(0) / x.mean() <= tau).nonzero().flatten().tolist()
                recycled += [(name, unit) for unit in units]
                outgoing += [(reader, unit) for unit in units for reader in following]
                counts[role] = counts.get(role, 0) + len(units)
        for name, unit in recycled:
            new[f"{name}.weight"][unit] = drawn[role][f"{name}.weight"][unit]
            new[f"{name}.bias"][unit] = drawn[role][f"{name}.bias"][unit]
        for reader, unit in outgoing:
            new[f"{reader}.weight"][:, unit] = 0
        expected |= {f"loss.{role}.{name}": value for name, value in new.items()}
    return expected, counts


@pytest.mark.parametrize("tau", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("masked", [False, True])
def test_dormant_units_of_a_perceptron_are_recycled(tau, masked):
    agent = t.make_agent("mlp", masked=masked)
    t.train(agent, 3)
    kill(agent, "critic", "members.1.trunk.0", [2, 5])
    kill(agent, "critic", "members.1.trunk.2", [1])
    kill(agent, "actor", "trunk.2", [0])
    expected, counts = mlp_by_hand(agent, tau)
    before, places = t.everything(agent), t.pointers(agent)
    report = t.intervene(agent, redo(agent, tau))
    after = t.everything(agent)
    for name, value in expected.items():
        assert torch.equal(after[name], value), name
    assert counts["actor"] >= 1
    assert counts["critic"] >= 3
    assert report == pytest.approx(
        {
            "units/actor": counts["actor"],
            "share/actor": counts["actor"] / 18,
            "units/critic": counts["critic"],
            "share/critic": counts["critic"] / 36,
        }
    )
    targets = [name for name in after if name.startswith("loss.target")]
    assert targets
    assert all(torch.equal(after[name], before[name]) for name in targets)
    assert t.pointers(agent) == places
    if masked:
        t.assert_masked(agent)
        t.train(agent, 3)
        t.assert_masked(agent)


def test_optimizers_forget_recycled_entries_and_no_others():
    agent = t.make_agent("mlp", masked=False)
    t.train(agent, 3)
    kill(agent, "critic", "members.0.trunk.0", [3])
    before = t.everything(agent)
    for name in before:
        if name.startswith("exp_avg"):
            assert before[name].any(), name
    step = redo(agent, networks=("critic",))
    flagged = {
        layer.path: units.nonzero().flatten().tolist()
        for layer, units in step._dormant(t.view(agent))
    }
    assert 3 in flagged["members.0.trunk.0"]
    t.intervene(agent, step)
    after = t.everything(agent)
    for name, value in before.items():
        if name.startswith("loss."):
            continue
        expected = value.clone()
        for path, units in flagged.items():
            member = path[: len("members.0")]
            reader = f"{member}.trunk.2" if path.endswith("0") else f"{member}.head"
            if not name.startswith("step"):
                if f"critic.{path}." in name:
                    expected[units] = 0
                if name.endswith(f"critic.{reader}.weight"):
                    expected[:, units] = 0
        assert torch.equal(after[name], expected), name


@pytest.mark.parametrize("kind", ["obgd", "adaptive"])
def test_traces_of_recycled_units_are_emptied(kind):
    agent = t.make_agent(kind, masked=False)
    t.train(agent, 3)
    with torch.no_grad():  # LeakyReLU is zero at zero, and so is what layer norm's mean is
        agent.parts.modules["actor"].trunk[0].weight[4] *= 1e-3
    before = t.everything(agent)
    step = redo(agent, tau=0.6)
    flagged = {
        f"{x.role}.{x.path}": u.nonzero().flatten().tolist()
        for x, u in step._dormant(t.view(agent))
    }
    t.intervene(agent, step)
    after = t.everything(agent)
    units, following = flagged["actor.trunk.0"], flagged["actor.trunk.3"]
    assert units
    traces = [
        name for name in ("trace", "second_moment") if f"{name}.actor.trunk.0.weight" in after
    ]
    assert len(traces) == (1 if kind == "obgd" else 2)
    for name in traces:
        rows = after[f"{name}.actor.trunk.0.weight"].reshape(16, -1)
        expected = before[f"{name}.actor.trunk.0.weight"].reshape(16, -1).clone()
        expected[units] = 0
        assert torch.equal(rows, expected)
        expected = before[f"{name}.actor.trunk.3.weight"].reshape(16, 16).clone()
        expected[following], expected[:, units] = 0, 0
        assert torch.equal(after[f"{name}.actor.trunk.3.weight"].reshape(16, 16), expected)
    t.train(agent, 3, seed=2)


def test_a_channel_of_the_encoder_is_read_at_all_its_places():
    agent = t.make_agent("drq")
    t.train(agent, 3)
    kill(agent, "encoder", "layers.6", [1, 3])
    step = redo(agent, networks=("encoder",))
    before = t.everything(agent)
    report = t.intervene(agent, step)
    after, drawn = t.everything(agent), t.fresh(agent, "encoder")["encoder"]
    assert report["units/encoder"] >= 2
    weight = after["loss.encoder.layers.6.weight"]
    assert torch.equal(weight[[1, 3]], drawn["layers.6.weight"][[1, 3]])
    assert weight[[1, 3]].any()
    assert torch.equal(weight[[0, 2]], before["loss.encoder.layers.6.weight"][[0, 2]])
    channels = torch.arange(36).reshape(4, 3, 3)
    silent, read = channels[[1, 3]].flatten(), channels[[0, 2]].flatten()
    for name in ("actor.trunk.0", "critic.projection.0", "target_critic.projection.0"):
        now, then = after[f"loss.{name}.weight"], before[f"loss.{name}.weight"]
        assert then[:, silent].any()
        assert not now[:, silent].any()
        assert torch.equal(now[:, read], then[:, read])
        if not name.startswith("target"):
            moments = after[f"exp_avg.{name}.weight"]
            assert not moments[:, silent].any()
            assert torch.equal(moments[:, read], before[f"exp_avg.{name}.weight"][:, read])
    t.assert_masked(agent)
    t.train(agent, 2)
    t.assert_masked(agent)


# Behind layer norm, or another activation than ReLU, no unit is zero on all inputs.
DEAD = {
    "sac": [("actor", "trunk.blocks.0.expand"), ("critic", "members.1.trunk.blocks.1.expand")],
    "mlp": [("actor", "trunk.0"), ("actor", "trunk.2"), ("critic", "members.0.trunk.0")],
    "drq": [
        *(("encoder", f"layers.{i}") for i in (0, 2, 4, 6)),
        *(("actor", "trunk.3"), ("actor", "trunk.5"), ("critic", "members.0.trunk.0")),
    ],
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", DEAD)
def test_recycling_dead_units_changes_no_output(kind, masked):
    agent = t.make_agent(kind, masked=masked)
    t.train(agent, 2)
    for role, path in DEAD[kind]:
        kill(agent, role, path, [0, 2])
    analysed = t.view(agent).batch(BATCH)

    @torch.no_grad()
    def outputs():
        loss = agent.loss
        batch = t.view(agent).batch(BATCH).batch
        targets = loss.targets["critic"](batch["features"], batch["action"])
        return [loss.act(analysed.observation, explore=False), loss.predict(batch), targets]

    before = outputs()
    report = t.intervene(agent, redo(agent))
    assert sum(report[f"units/{role}"] for role in agent.parts.modules) >= 2 * len(DEAD[kind])
    for got, expected in zip(outputs(), before, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    # and the new units are at work
    assert t.intervene(agent, redo(agent))["units/actor"] < report["units/actor"]


@pytest.mark.parametrize("kind", ["sac", "obgd"])
def test_nothing_is_drawn_or_changed_where_nothing_is_dormant(kind):
    agent = t.make_agent(kind, masked=False)
    t.train(agent, 1)
    before = t.everything(agent)
    step, state = redo(agent), torch.get_rng_state()
    report = step.intervene(t.view(agent))
    assert not any(report.values())
    assert torch.equal(torch.get_rng_state(), state)
    after = t.everything(agent)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_is_not_named_is_left_alone():
    agent = t.make_agent("drq")
    t.train(agent, 2)
    before = t.everything(agent)
    report = t.intervene(agent, redo(agent, tau=2.0, networks=("actor",)))
    assert set(report) == {"units/actor", "share/actor"}
    assert report["units/actor"] > 0
    after = t.everything(agent)
    touched = {name for name in after if not torch.equal(after[name], before[name])}
    assert {t.role_of(name) for name in touched} == {"actor"}


def test_norms_before_the_activation_are_new_as_well():
    agent = t.make_agent("drq", masked=False)
    norm = agent.parts.modules["actor"].trunk[1]
    with torch.no_grad():
        norm.weight.mul_(3.0)
        norm.weight[2] = norm.bias[2] = 0.0
    t.intervene(agent, redo(agent, networks=("actor",)))
    assert norm.weight.tolist() == pytest.approx([3, 3, 1, 3, 3])
    assert not norm.bias.any()


def test_networks_and_their_modes_are_left_as_they_are():
    agent = t.make_agent("drq")
    modules = list(agent.loss.modules())
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")

    def look():
        hooks = [len(getattr(module, kind)) for module in modules for kind in kinds]
        return [module.training for module in modules], hooks

    before = look()
    t.intervene(agent, redo(agent, tau=0.5))
    assert look() == before
    assert all(p.grad is None for p in agent.loss.parameters())
    assert all(p.requires_grad for p in agent.loss.actor.parameters())


def test_recycling_follows_the_seed():
    def recycled(seed):
        agent = t.make_agent("drq")
        t.train(agent, 2)
        t.intervene(agent, redo(agent, tau=0.3), seed)
        return t.everything(agent)

    one, two, other = recycled(1), recycled(1), recycled(2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_it_needs_replay_only_to_draw_from_it():
    (component,) = [c for c in t.register_interventions() if c.name == "redo"]
    assert component.needs(ReDoOptions(every=1)) == {"inspection"}
    replay = ReDoOptions(every=1, batch=BatchOptions("replay"))
    assert component.needs(replay) == {"inspection", "replay"}
    assert "replay" in component.instead
