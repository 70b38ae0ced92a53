"""What losses show of a batch: ``analyse``, and its slices in the phases."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from core.api import Inspectable, LossContext, Soft
from plugins.losses import noise
from plugins.losses.options import StreamACOptions, StreamQOptions
from plugins.losses.stream_ac import StreamAC
from plugins.losses.stream_q import StreamQ
from tests.support import streaming_oracle as oracle
from tests.support.agents import CPU
from tests.support.inspected import CONTINUOUS, DISCRETE, EVERY, REPLAYED, lived, transitions

torch.set_num_threads(1)


@pytest.mark.parametrize("name", EVERY)
def test_looking_changes_nothing_and_keeps_no_graph(name):
    learner, spec = lived(name)
    loss = learner.loss
    assert isinstance(loss, Inspectable)
    batch = transitions(spec)
    given, state = batch.clone(), deepcopy(loss.state_dict())
    drawn = torch.get_rng_state()
    analysed = loss.analyse(batch)
    loss.predict(analysed.batch)
    loss.targets  # noqa: B018
    assert torch.equal(torch.get_rng_state(), drawn)
    if isinstance(loss, Soft):
        loss.bonus(analysed.batch)
    after = loss.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[key], state[key]) for key in state)
    assert (batch == given).all()
    assert all(parameter.grad is None for parameter in loss.parameters())
    shown = [*analysed.batch.values(), *(x for xs in analysed.inputs.values() for x in xs)]
    assert not any(x.requires_grad for x in shown)
    assert {len(x) for x in shown} == {8}
    assert torch.equal(analysed.observation, batch["observation"])


@pytest.mark.parametrize("name", REPLAYED)
def test_examined_is_what_an_update_prepares_but_for_augmentation(name):
    learner, spec = lived(name)
    learner.loss.options = type(learner.loss.options)(critics=2)  # no shift
    assert learner.loss.options.shift == 0
    batch = transitions(spec)
    analysed, prepared = learner.loss.analyse(batch).batch, learner.loss.prepare(batch)
    assert list(analysed) == list(prepared)
    for key, value in prepared.items():
        assert torch.equal(analysed[key], value), key
    if "encoder" in learner.loss.analyse(batch).inputs:
        assert prepared["features"].requires_grad


def test_examined_frames_are_not_shifted():
    learner, spec = lived("drq")
    batch = transitions(spec)
    with torch.no_grad():
        expected = learner.loss.encoder(batch["observation"])
    assert torch.equal(learner.loss.analyse(batch).batch["features"], expected)
    assert not torch.equal(learner.loss.prepare(batch)["features"], expected)


def test_replayed_observations_are_normalised_by_statistics_as_they_are():
    learner, spec = lived("sac")
    batch, rows = transitions(spec), torch.randn(40, *spec.observation) * 5 + 1
    learner.loss.observe(rows, torch.ones(40) > 0)
    normaliser = learner.loss.normaliser
    count, mean = normaliser.count.numpy(), normaliser.mean.numpy()
    variance = normaliser.squares.numpy() / count
    analysed = learner.loss.analyse(batch).batch
    for key, raw in (
        ("features", batch["observation"]),
        ("next_features", batch["next", "observation"]),
    ):
        expected = (raw.numpy() - mean) / np.sqrt(variance + 1e-8)
        np.testing.assert_allclose(analysed[key].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("truncation", ["end", "bootstrap"])
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("discrete", [False, True])
def test_streamed_batches_are_seen_by_statistics_as_they_are(truncation, leak, discrete):
    options = (StreamQOptions if discrete else StreamACOptions)(
        gamma=0.9, truncation=truncation, reward_leak=leak
    )
    world, spec = oracle.World(2, 20), DISCRETE if discrete else CONTINUOUS
    torch.manual_seed(0)
    context = LossContext(spec, oracle.LinearParts(), CPU, world.count)
    loss = (StreamQ if discrete else StreamAC)(options, context)
    told = oracle.Statistics(oracle.Settings(0.9, 0.0, {}, truncation=truncation, leak=leak), world)
    for t in range(world.steps):
        loss.observe(*world.root(t))
        told.begin(t)
        action = torch.zeros(2, dtype=torch.int64) if discrete else torch.zeros(2, 2).double()
        loss.prepare(world.batch(t, action, 0.9))
        told.transition(t)
    draw = np.random.default_rng(1)
    size = 9  # not the number of environments
    raw, following = draw.normal(2, 3, (2, size, oracle.FEATURES))
    reward = draw.normal(size=size)
    terminated = np.arange(size) % 3 == 0
    ended = terminated | (np.arange(size) % 4 == 1)
    taken = draw.integers(0, 3, size) if discrete else draw.normal(size=(size, 2))
    column = {"reward": reward, "discount": 0.9 * (1 - terminated), "done": ended}
    after = {key: torch.from_numpy(value)[:, None] for key, value in column.items()}
    after["observation"] = torch.from_numpy(following)
    root = {"observation": torch.from_numpy(raw), "action": torch.from_numpy(taken)}
    analysed = loss.analyse(TensorDict({**root, "next": after}, [size])).batch
    stop = ended if truncation == "end" else terminated
    expected = {
        "observation": told.normal(raw),
        "next_observation": told.normal(following),
        "action": taken,
        "reward": reward / np.sqrt(np.var(told.all_sums, ddof=1) + 1e-8),
        "discount": 0.9 * (1 - stop),
        "ended": ended,
    }
    assert set(analysed) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(analysed[key].numpy(), value, rtol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", EVERY)
def test_inputs_are_what_the_networks_are_called_with(name):
    learner, spec = lived(name)
    loss = learner.loss
    analysed = loss.analyse(transitions(spec))
    called = {}

    def spy(role, network):
        def record(module, given):
            called.setdefault(role, given)

        return network.register_forward_pre_hook(record)

    networks = {
        role: getattr(loss, role)
        for role in ("encoder", "actor", "critic")
        if getattr(loss, role, None) is not None
    }
    hooks = [spy(role, network) for role, network in networks.items()]
    loss.act(analysed.observation, explore=False)
    loss.predict(analysed.batch)
    for hook in hooks:
        hook.remove()
    assert set(analysed.inputs) == set(networks)
    for role, given in analysed.inputs.items():
        assert len(given) == len(called[role])
        for one, other in zip(given, called[role], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


# --- slices in phases -------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch):
    """No random actions, so that objectives of slices can be added up."""
    monkeypatch.setattr(noise, "standard_normal", torch.zeros_like)


@pytest.mark.parametrize("name", EVERY)
def test_slices_are_batches_of_their_own(name, still):
    learner, spec = lived(name)
    whole = learner.loss.analyse(transitions(spec)).batch
    slices = [{key: value[i : i + 1] for key, value in whole.items()} for i in range(8)]
    for phase in learner.loss.phases:
        if not phase.modules:
            continue
        objective, _ = phase.run(whole)
        parts = torch.stack([phase.run(part)[0].mean() for part in slices])
        torch.testing.assert_close(parts.mean(), objective.mean(), rtol=1e-4, atol=1e-6)
        if phase.step is not None:
            torch.testing.assert_close(parts, objective, rtol=1e-4, atol=1e-6)
        gradients = torch.autograd.grad(parts.mean(), list(phase.modules[-1].parameters()))
        assert any(gradient.any() for gradient in gradients)
