"""Episodes of a diagnostic's own, in the middle of a run that must not notice them."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from core.agent.randomness import seed_everything, untouched_randomness
from core.api import DiagnosticContext, EnvironmentContext
from plugins.diagnostics import register_diagnostics, rollouts
from plugins.diagnostics.options import QBiasOptions
from plugins.environments import register_environments
from plugins.environments.options import GymnasiumOptions
from plugins.losses.options import EpsilonOptions, StreamACOptions, StreamQOptions
from plugins.losses.stream_ac_fused import FusedActorCritic
from plugins.losses.stream_q_fused import FusedQ
from tests.plugins.diagnostics.corridor import GAMMA, Corridor, Knowing
from tests.support.agents import CPU
from tests.support.inspected import stream_learner
from tests.support.twins import same

torch.set_num_threads(1)
Q_BIAS = {c.name: c for c in register_diagnostics()}["q_bias"]
GYMNASIUM = {c.name: c for c in register_environments()}["gymnasium"]


def world(id_):
    return GYMNASIUM.build(GymnasiumOptions(id_), EnvironmentContext())


def test_episodes_have_the_keys_of_a_data_source():
    corridor, loss = Corridor((3, "truncated"), (2, "terminated"), (9, "")), Knowing([])
    view = SimpleNamespace(environments=corridor, loss=loss, device=CPU)
    played = list(rollouts.episodes(view, 3, limit=4, explore=True, gamma=GAMMA))
    assert [len(episode) for episode in played] == [3, 2, 4]
    first, second, third = played
    assert first["observation"].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert first["next", "observation"].tolist() == [[0, 1], [0, 2], [0, 3]]
    assert third["observation"].tolist() == [[2, 0], [2, 1], [2, 2], [2, 3]]
    assert first["action"].flatten().tolist() == [1, 2, 3]
    for episode in played:
        assert set(episode.keys(True, True)) == {
            *rollouts.ROOT,
            *(("next", key) for key in (*rollouts.NEXT, "discount")),
        }
        assert episode["next", "reward"].shape == (len(episode), 1)
    assert first["next", "discount"].flatten().tolist() == pytest.approx([GAMMA] * 3)
    assert second["next", "discount"].flatten().tolist() == pytest.approx([GAMMA, 0])
    assert first["next", "done"].flatten().tolist() == [False, False, True]
    assert not third["next", "done"].any()


def looking(learner, environments, spec):
    """Measure as a run does: on generators that are put back."""
    loss = learner.loss
    diagnostic = Q_BIAS.build(
        QBiasOptions(episodes=1, steps=30), DiagnosticContext(spec, loss, {}, 0.99)
    )
    view = SimpleNamespace(environments=environments, loss=loss, device=CPU, spec=spec)
    with untouched_randomness():
        seed_everything(123)
        assert "states" in diagnostic.measure(view)


def live(learner, environments, look, steps=60):
    """A run of one environment; with ``look``, a measurement at many an unfit moment."""
    torch.manual_seed(4)
    spec, loss = environments.spec, learner.loss
    environment = environments.make(1, 7)
    root, actions = environment.reset(), []
    for step in range(steps):
        loss.set_progress(step)
        observation = root.get("observation")
        loss.observe(observation, root.get("is_init")[:, 0])
        if look and step % 50 == 10:
            looking(learner, environments, spec)
        action = loss.act(observation, explore=True)
        actions.append(action.clone())
        if look and step % 50 == 20:
            looking(learner, environments, spec)
        stepped, root = environment.step_and_maybe_reset(root.set("action", action))
        batch = stepped.select("observation", "action", "next").clone()
        batch["next", "discount"] = 0.99 * (~batch["next", "terminated"]).float()
        if look and step % 50 == 30:
            looking(learner, environments, spec)
        learner.update(batch)
        if look and step % 50 == 40:
            looking(learner, environments, spec)
    environment.close()
    return torch.cat(actions), learner.state_dict()


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(
    ("options", "id_"),
    [
        (StreamACOptions(), "Pendulum-v1"),
        (StreamQOptions(epsilon=EpsilonOptions(0.5, 0.5)), "CartPole-v1"),
    ],
)
def test_a_streaming_run_does_not_notice(options, id_, fuse):
    environments, results = world(id_), []
    for look in (False, True):
        torch.manual_seed(2)
        learner = stream_learner(options, count=1, spec=environments.spec)
        if fuse:
            learner.fuse()
            assert isinstance(learner._run, FusedActorCritic | FusedQ)
        results.append(live(learner, environments, look))
    (actions, state), (watched_actions, watched_state) = results
    assert torch.equal(actions, watched_actions)
    assert same(state, watched_state)
    assert len(actions.unique()) > 1


def test_predictions_are_those_of_the_fused_agents_present_weights():
    environments = world("Pendulum-v1")
    torch.manual_seed(2)
    learner = stream_learner(StreamACOptions(), count=1, spec=environments.spec)
    learner.fuse()
    before = deepcopy(learner.loss.critic.state_dict())
    live(learner, environments, False, steps=20)
    after = learner.loss.critic.state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in before)
    batch = {"observation": torch.randn(3, 3)}
    row = learner.loss._fused.critic
    expected = [row.forward(observation).item() for observation in batch["observation"]]
    assert learner.loss.predict(batch)[0].tolist() == pytest.approx(expected, rel=1e-5)
