"""The lean collector of single steps gives what TorchRL's own gives."""

from __future__ import annotations

import pytest
import torch
from torchrl.collectors import Collector

from core.agent.policy import Policy
from core.training.collector import StepCollector, make_collector
from tests.support.worlds import gymnasium_env


class Drawing:
    """A loss that only acts, from torch's global generator."""

    def __init__(self):
        self.begins = []

    def observe(self, observation, begins):
        self.begins.append(begins.tolist())

    def act(self, observation, *, explore):
        return 2 * torch.rand(observation.shape[0], 1) - 1 + 0 * observation[:, :1]


def pendulums(count):
    """With episodes of 7 steps."""
    return gymnasium_env("Pendulum-v1", max_episode_steps=7).make(count, 0)


def collected(kind, count, steps=40):
    """So many steps, and what the loss was told."""
    env = pendulums(count)
    loss = Drawing()
    policy = Policy(loss, env._agent_spec, torch.device("cpu"), random_steps=0)
    arguments = {"track_traj_ids": False, "trust_policy": True, "return_same_td": True}
    if kind is StepCollector:
        collector = make_collector(env, policy, 1)
    else:
        collector = kind(env, policy, frames_per_batch=count, total_frames=-1, **arguments)
    policy.recording = True
    torch.manual_seed(0)
    batches = iter(collector)
    taken = [next(batches).clone() for _ in range(steps)]
    env.close()
    return taken, loss.begins


@pytest.mark.parametrize("count", [1, 3])
def test_single_steps_are_those_of_torchrls_collector(count):
    (ours, begins), (theirs, theirs_begins) = (
        collected(k, count) for k in (StepCollector, Collector)
    )
    assert begins == theirs_begins
    assert [row[0] for row in begins[:15]] == [i % 7 == 0 for i in range(15)]
    for one, other in zip(ours, theirs, strict=True):
        assert one.batch_size == other.batch_size == (count, 1)
        assert set(one.keys(True, True)) == set(other.keys(True, True))
        for key in one.keys(True, True):
            assert torch.equal(one[key], other[key]), key


def test_longer_batches_are_torchrls_own():
    env = pendulums(2)
    policy = Policy(Drawing(), env._agent_spec, torch.device("cpu"), random_steps=0)
    collector = make_collector(env, policy, 5)
    policy.recording = True
    assert type(collector) is Collector
    assert next(iter(collector)).batch_size == (2, 5)
    env.close()
