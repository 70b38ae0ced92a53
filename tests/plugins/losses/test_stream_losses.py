"""Streaming losses against the same updates written out in NumPy."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import nn

from core.agent.learner import Learner
from core.api import (
    DataContext,
    EnvironmentSpec,
    LossContext,
    OptimizerContext,
    Returns,
    RunStopped,
)
from plugins.data import register_data
from plugins.losses import gaussian
from plugins.losses.options import (
    DDPGOptions,
    EpsilonOptions,
    SACOptions,
    StreamACOptions,
    StreamQOptions,
)
from plugins.losses.stream_ac import StreamAC
from plugins.losses.stream_q import StreamQ
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import KappaOptions, ObGDOptions
from tests.support import streaming_oracle as oracle
from tests.support.agents import CPU, SIMBA, STATE, build, make_batch, make_execution, make_learner

torch.set_num_threads(1)
DOUBLE = torch.float64
LAMDA = 0.7
CONTINUOUS = EnvironmentSpec((oracle.FEATURES,), oracle.ACTIONS)
DISCRETE = EnvironmentSpec((oracle.FEATURES,), 3, discrete=True)


def make(options, world, *, kappa=None, normalise=True):
    """A learner of a streaming loss on linear networks in float64."""
    torch.manual_seed(world.count)
    continuous = isinstance(options, StreamACOptions)
    spec = CONTINUOUS if continuous else DISCRETE
    parts = oracle.LinearParts(normalise)
    context = LossContext(spec, parts, CPU, world.count)
    loss = (StreamAC if continuous else StreamQ)(options, context)
    obgd = ObGDOptions(lamda=LAMDA, kappa=kappa or KappaOptions())
    factory = build(register_optimizers(), obgd, OptimizerContext(CPU), "obgd")
    return Learner(loss, factory, make_execution(), CPU)


def flat(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()


def settings_of(options, kappa, normalise):
    return oracle.Settings(
        gamma=options.gamma,
        lamda=LAMDA,
        kappa={"actor": kappa.actor, "critic": kappa.critic},
        entropy=getattr(options, "entropy", 0.0),
        truncation=options.truncation,
        scale=options.scale_rewards,
        leak=options.reward_leak,
        normalise=normalise,
        cut=getattr(options, "exploratory_cut", "after"),
    )


VARIANTS = {
    "reference": {},
    "bootstrap": {"truncation": "bootstrap"},
    "leak": {"reward_leak": True},
    "plain rewards": {"scale_rewards": False},
    "plain observations": {"normalise": False},
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_stream_ac_equals_the_formulas_over_several_episodes(tape, variant, count):
    changes = dict(VARIANTS[variant])
    normalise = changes.pop("normalise", True)
    # Loose enough a bound that some steps overshoot, and an entropy that matters.
    kappa = KappaOptions(actor=1.5, critic=0.1)
    options = StreamACOptions(gamma=0.9, entropy=0.3, overshoot_check=True, **changes)
    world = oracle.World(count, 24)
    if not normalise:  # as they are they make a chaotic course, of rounding too
        world.observation, world.following = world.observation / 5, world.following / 5
    learner = make(options, world, kappa=kappa, normalise=normalise)
    loss = learner.loss
    settings = settings_of(options, kappa, normalise)
    want = oracle.ActorCritic(settings, world, flat(loss.actor), flat(loss.critic))
    deltas, overshoots = [], []
    for t in range(world.steps):
        observation, begins = world.root(t)
        loss.observe(observation, begins)
        action = loss.act(observation, explore=True)
        np.testing.assert_allclose(action, want.act(t, tape[-1].numpy()), rtol=1e-6)
        learner.update(world.batch(t, action, options.gamma))
        delta, metrics = want.update(t, action.numpy())
        np.testing.assert_allclose(flat(loss.actor), want.actor.weights, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(flat(loss.critic), want.critic.weights, rtol=1e-6, atol=1e-9)
        means = learner.means.take()
        assert list(means) == list(metrics)
        assert means == pytest.approx(metrics, rel=1e-5)
        deltas.append(delta)
        overshoots.append(metrics["train/overshoot"])
    assert np.min(deltas) < 0 < np.max(deltas)
    assert 0 < np.mean(overshoots) < 1
    assert world.terminated.sum(0).min() >= 2
    assert world.truncated.sum(0).min() >= 2


@pytest.mark.parametrize("reward", [-20.0, 20.0])
def test_entropy_raises_the_entropy_in_its_own_step_whatever_the_sign_of_delta(tape, reward):
    world = oracle.World(1, 1)
    learners = [
        make(StreamACOptions(entropy=weight, scale_rewards=False), world) for weight in (0.0, 5.0)
    ]
    spreads = []
    world.reward[:] = reward
    for learner in learners:
        loss = learner.loss
        observation, begins = world.root(0)
        loss.observe(observation, begins)
        action = torch.full((1, oracle.ACTIONS), 0.1, dtype=DOUBLE)
        batch = world.batch(0, action, 0.99)
        learner.update(batch)
        _, raw = loss.actor(loss.normaliser(observation))
        spreads.append(gaussian.entropy(nn.functional.softplus(raw).log()).item())
    assert spreads[1] > spreads[0] + 0.01


CUTS = ("after", "before", "never")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("cut", CUTS)
def test_stream_q_equals_the_formulas_over_several_episodes(cut, count):
    kappa = KappaOptions()
    schedule = EpsilonOptions(0.6, 0.6)
    options = StreamQOptions(gamma=0.9, epsilon=schedule, exploratory_cut=cut)
    world = oracle.World(count, 24)
    learner = make(options, world)
    loss = learner.loss
    want = oracle.QLearning(settings_of(options, kappa, True), world, 3, flat(loss.critic))
    explored = []
    for t in range(world.steps):
        observation, begins = world.root(t)
        loss.observe(observation, begins)
        assert loss.act(observation, explore=False).tolist() == want.greedy(t).tolist()
        action = loss.act(observation, explore=True)
        learner.update(world.batch(t, action, options.gamma))
        delta, exploratory = want.update(t, action.numpy())
        np.testing.assert_allclose(flat(loss.critic), want.critic.weights, rtol=1e-6, atol=1e-9)
        means = learner.means.take()
        assert means["train/td_error"] == pytest.approx(np.abs(delta).mean(), rel=1e-5)
        explored.append(exploratory)
    assert 0.1 < np.mean(explored) < 0.7


def test_the_three_cuts_differ():
    world, ends = oracle.World(1, 24), []
    for cut in CUTS:
        learner = make(StreamQOptions(exploratory_cut=cut, epsilon=EpsilonOptions(0.6, 0.6)), world)
        torch.manual_seed(0)
        for t in range(world.steps):
            learner.loss.observe(*world.root(t))
            learner.update(world.batch(t, torch.randint(3, (1,)), 0.99))
        ends.append(flat(learner.loss.critic))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(ends, ends[1:] + ends[:1], strict=True))


def test_of_equal_values_the_first_is_greedy_and_the_others_are_exploratory():
    world = oracle.World(2, 1)
    world.ended[:] = world.terminated[:] = world.truncated[:] = False
    learner = make(StreamQOptions(), world)
    nn.init.zeros_(learner.loss.critic.head.weight)
    nn.init.zeros_(learner.loss.critic.head.bias)
    observation, begins = world.root(0)
    learner.loss.observe(observation, begins)
    assert learner.loss.act(observation, explore=False).tolist() == [0, 0]
    learner.update(world.batch(0, torch.tensor([0, 1]), 0.99))
    traces = [s["trace"] for s in learner.steps[0].optimizer.state.values()]
    assert all(trace[0].abs().sum() > 0 for trace in traces)
    assert all(trace[1].abs().sum() == 0 for trace in traces)


def test_epsilon_falls_linearly_and_is_saved():
    loss = make(StreamQOptions(epsilon=EpsilonOptions(0.9, 0.1, 100)), oracle.World(1, 1)).loss
    seen = []
    for step in (0, 50, 100, 5000):
        loss.set_progress(step)
        seen.append(loss.epsilon.item())
    assert seen == pytest.approx([0.9, 0.5, 0.1, 0.1])
    assert "epsilon" in loss.state_dict()


# --- acting and state -------------------------------------------------------------------


@pytest.mark.parametrize("options", [StreamACOptions(), StreamQOptions()], ids=["ac", "q"])
def test_evaluation_changes_nothing_and_draws_nothing(options):
    world = oracle.World(2, 2)
    loss = make(options, world).loss
    observation, begins = world.root(0)
    loss.observe(observation, begins)
    before, rows = deepcopy(loss.state_dict()), len(loss.normaliser.rows)
    generator = torch.random.get_rng_state()
    one, two = (loss.act(observation, explore=False) for _ in range(2))
    assert torch.equal(one, two)
    assert not one.requires_grad
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert len(loss.normaliser.rows) == rows
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name])


def test_evaluation_acts_with_the_mean_which_is_not_squashed():
    world = oracle.World(1, 1)
    loss = make(StreamACOptions(), world, normalise=False).loss
    observation = 100 * world.root(0)[0]
    action = loss.act(observation, explore=False)
    assert torch.equal(action, loss.actor(observation)[0])
    assert action.abs().max() > 1


def test_only_first_observations_enter_the_statistics_when_acted_on():
    world = oracle.World(3, 1)
    loss = make(StreamACOptions(), world).loss
    observation, _ = world.root(0)
    for begins, rows in (([1, 1, 1], [0, 1, 2]), ([0, 0, 0], []), ([1, 0, 1], [0, 2])):
        loss.normaliser.rows.clear()
        loss.observe(observation, torch.tensor(begins, dtype=torch.bool))
        np.testing.assert_array_equal(
            np.array(loss.normaliser.rows).reshape(-1, 4), observation[rows]
        )


@pytest.mark.parametrize("options", [StreamACOptions(), StreamQOptions()], ids=["ac", "q"])
def test_a_called_loss_gives_the_objectives_means(options):
    world = oracle.World(3, 1)
    loss = make(options, world).loss
    observation, begins = world.root(0)
    loss.observe(observation, begins)
    action = loss.act(observation, explore=False)
    batch = world.batch(0, action, 0.99)
    value = loss.critic(loss.normaliser(observation))[0]
    got = loss(batch)
    assert list(got.keys()) == loss.out_keys
    value = value.max(1).values if isinstance(options, StreamQOptions) else value[:, 0]
    torch.testing.assert_close(got["loss_critic"], -value.mean())
    sum(got.values()).backward()
    assert all(p.grad is not None for p in loss.parameters())


def test_a_non_finite_reward_is_named_by_the_td_error():
    world = oracle.World(1, 2)
    learner = make(StreamACOptions(), world)
    world.reward[1] = np.nan
    batches = []
    for t in range(2):
        learner.loss.observe(*world.root(t))
        action = learner.loss.act(world.root(t)[0], explore=True)
        batches.append(world.batch(t, action, 0.99))
    learner.update(batches[0])
    with pytest.raises(RunStopped, match="'train/td_error' became non-finite at update 2"):
        learner.update(batches[1])


# --- replay's losses under streaming ----------------------------------------------------


@pytest.mark.parametrize("options", [SACOptions(), DDPGOptions()], ids=["sac", "ddpg"])
def test_losses_of_replay_learn_from_one_transition_at_a_time(options):
    learner = make_learner(options, replace(SIMBA, normalise=True))
    (stream,) = [c for c in register_data() if c.name == "stream"]
    data = stream.build(stream.options(), DataContext(STATE, Returns(0.97), 1, CPU, 0))
    steps = make_batch(STATE, 5)
    flags = {name: torch.zeros(5, 1, dtype=torch.bool) for name in ("done", "truncated")}
    flags["terminated"] = steps["next", "discount"] == 0
    root = {"observation": steps["observation"], "action": steps["action"]}
    following = {**steps["next"].exclude("discount"), **flags}
    data.extend(TensorDict({**root, "next": following}, [5])[None])
    before = deepcopy(dict(learner.loss.named_parameters()))
    for batch in data.batches():
        learner.loss.observe(batch["observation"], torch.zeros(1, dtype=torch.bool))
        learner.update(batch)
    assert learner.updates == 5
    assert learner.loss.normaliser.count.item() == pytest.approx(5, abs=1e-3)
    moved = [n for n, p in learner.loss.named_parameters() if not torch.equal(p, before[n])]
    assert {name.split(".")[0] for name in moved} >= {"actor", "critic"}
