"""The stream: each transition once, in order, against a list of what happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict.nn import TensorDictModuleBase

from core.api import DataContext, EnvironmentSpec, OptionError, Returns, UserError
from plugins.data import register_data
from plugins.data.options import StreamOptions
from tests.plugins.data.replay_oracle import GAMMA, WIDTH, Oracle, random_ends
from tests.support.worlds import gymnasium_env

HERE = Path()
FLAGS = ("done", "terminated", "truncated")


def make(count, device="cpu", n_step=1):
    component = next(c for c in register_data() if c.name == "stream")
    assert component.provides == {"transitions in order"}
    spec = EnvironmentSpec((WIDTH,), 2)
    context = DataContext(spec, Returns(GAMMA, n_step), count, torch.device(device), 0)
    return component.build(StreamOptions(), context)


def happened(oracle):
    """Per environment, the transitions in order, from the oracle's own lists."""
    return [
        [
            {
                "observation": episode.frames[k],
                "action": episode.actions[k],
                ("next", "observation"): episode.frames[k + 1],
                ("next", "reward"): np.float32([episode.rewards[k]]),
                ("next", "discount"): np.float32([0.0 if end == "terminated" else GAMMA]),
                ("next", "done"): np.array([end != ""]),
                ("next", "terminated"): np.array([end == "terminated"]),
                ("next", "truncated"): np.array([end == "truncated"]),
            }
            for episode in episodes
            for k in range(len(episode.actions))
            for end in [episode.end if k == len(episode.actions) - 1 else ""]
        ]
        for episodes in oracle.episodes
    ]


@settings(max_examples=30, deadline=None)
@given(
    count=st.sampled_from([1, 3]),
    chunks=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    rate=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_each_transition_once_and_in_order(count, chunks, rate, seed):
    rng, oracle, stream = np.random.default_rng(seed), Oracle(count, 1, 1, seed), make(count)
    batches = []
    for steps in chunks:
        stream.extend(oracle.collect(random_ends(rng, count, steps, rate)))
        batches += stream.batches()
        assert list(stream.batches()) == []
        assert len(stream) == 0
    assert len(batches) == sum(chunks)
    for i, transitions in enumerate(happened(oracle)):
        for batch, expected in zip(batches, transitions, strict=True):
            assert batch.batch_size == torch.Size([count])
            assert set(batch.keys(True, leaves_only=True)) == set(expected)
            for key, value in expected.items():
                taken = batch[key][i].numpy()
                assert taken.dtype == value.dtype
                assert np.array_equal(taken, value), key


class Wandering(TensorDictModuleBase):
    """Random actions, a copy of each kept."""

    def __init__(self, env):
        super().__init__()
        self.in_keys, self.out_keys = ["observation"], ["action"]
        self.env, self.taken = env, []

    def forward(self, tensordict):
        action = self.env.action_spec.rand()
        self.taken.append(action.clone())
        return tensordict.set("action", action)


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_behind_a_collector_that_uses_its_memory_again(count, steps):
    """Batches are read before the next collecting, as the loop does, and equal bare runs."""
    import gymnasium
    from torchrl.collectors import Collector

    env = gymnasium_env(max_episode_steps=17).make(count, 5)
    policy, stream = Wandering(env), make(count)
    collector = Collector(
        *(env, policy),
        frames_per_batch=count * steps,
        total_frames=-1,
        track_traj_ids=False,
        trust_policy=True,
        return_same_td=True,
        auto_register_policy_transforms=False,
    )
    policy.taken.clear()
    collected, seen = iter(collector), []
    for _ in range(120 // steps):
        stream.extend(next(collected))
        seen += [batch.clone() for batch in stream.batches()]
    assert len(seen) == len(policy.taken)
    ends = {"terminated": 0, "truncated": 0}
    for i, seed in enumerate(env._seeds):
        bare = gymnasium.make("CartPole-v1", max_episode_steps=17)
        observation, _ = bare.reset(seed=seed)
        for batch, action in zip(seen, policy.taken, strict=True):
            assert batch["action"][i] == action[i]
            assert np.array_equal(batch["observation"][i].numpy(), observation)
            observation, reward, terminated, truncated, _ = bare.step(int(action[i]))
            after = batch["next"][i]
            # at an episode's end too: the last observation, not the next episode's first
            assert np.array_equal(after["observation"].numpy(), observation)
            assert after["reward"].item() == reward
            assert after["discount"].item() == np.float32(0.0 if terminated else GAMMA)
            assert [after[key].item() for key in FLAGS] == [
                terminated or truncated,
                terminated,
                truncated,
            ]
            ends["terminated"] += terminated
            ends["truncated"] += truncated
            if terminated or truncated:
                observation, _ = bare.reset()
    assert all(ends.values())


def test_batches_are_views_of_what_was_collected():
    oracle, stream = Oracle(2, 1, 1, seed=0), make(2)
    transitions = oracle.collect(random_ends(oracle.rng, 2, 3, 0.3))
    stream.extend(transitions)
    batches = list(stream.batches())
    transitions["observation"].fill_(7.0)
    transitions["next", "reward"].fill_(-7.0)
    assert all((batch["observation"] == 7.0).all() for batch in batches)
    assert all((batch["next", "reward"] == -7.0).all() for batch in batches)
    # what is worked out is each batch's own
    batches[0]["next", "discount"].fill_(5.0)
    assert (batches[1]["next", "discount"] <= 1.0).all()
    stream.extend(oracle.collect(random_ends(oracle.rng, 2, 1, 0.0)))
    assert next(stream.batches())["next", "discount"][:, 0].tolist() == pytest.approx([GAMMA] * 2)


def test_what_was_not_taken_comes_next_and_is_never_lost_silently():
    oracle, stream = Oracle(1, 1, 1, seed=0), make(1)
    transitions = oracle.collect(random_ends(oracle.rng, 1, 3, 0.0))
    stream.extend(transitions)
    first = next(stream.batches())
    with pytest.raises(RuntimeError, match="2 steps"):
        stream.extend(transitions)
    rest = list(stream.batches())
    taken = torch.stack([batch["observation"] for batch in (first, *rest)], 1)
    assert torch.equal(taken, transitions["observation"])
    stream.extend(transitions)


def test_batches_go_to_the_learners_device():
    oracle, stream = Oracle(1, 1, 1, seed=0), make(1, device="meta")
    stream.extend(oracle.collect(random_ends(oracle.rng, 1, 1, 0.0)))
    (batch,) = stream.batches()
    assert {leaf.device.type for leaf in batch.values(True, leaves_only=True)} == {"meta"}


def test_the_discount_is_float32_whatever_the_default():
    oracle = Oracle(1, 1, 1, seed=0)
    torch.set_default_dtype(torch.float64)
    try:
        stream = make(1)
        stream.extend(oracle.collect(random_ends(oracle.rng, 1, 1, 0.0)))
        (batch,) = stream.batches()
    finally:
        torch.set_default_dtype(torch.float32)
    assert batch["next", "discount"].dtype == torch.float32


@pytest.mark.parametrize("size", [(2, 1), (1,), (3, 1, 1)])
def test_another_shape_is_refused(size):
    oracle = Oracle(3, 1, 1, seed=0)
    transitions = oracle.collect(random_ends(oracle.rng, 3, 1, 0.0))
    with pytest.raises(ValueError, match=r"expected a batch \[3, steps\]"):
        make(3).extend(transitions.reshape(-1)[: int(np.prod(size))].reshape(size))


def test_it_holds_nothing_and_says_so():
    stream = make(2)
    assert (stream.learning_starts, stream.bytes, len(stream)) == (0, 0, 0)
    assert list(stream.batches()) == []
    assert stream.save(HERE) == {"files": []}
    make(2).load(HERE, stream.save(HERE))
    with pytest.raises(UserError, match="not saved by stream"):
        stream.load(HERE, {"files": [], "ledger": {}})


def test_sums_of_several_rewards_are_refused():
    with pytest.raises(OptionError, match="n_step 3"):
        make(1, n_step=3)
