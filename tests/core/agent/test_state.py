"""Checkpoints: one form for every execution backend, exact both ways, as small as what lives."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch

from core.agent.state import agent_state, copies, dense_weights, restore_agent
from core.api import NetworkContext
from core.api.errors import UserError
from core.api.layers import compact_layers
from core.training import checkpoint
from plugins.networks import register_networks
from plugins.networks.options import SimbaOptions, SimbaSize
from tests.support.agents import STATE, build
from tests.support.intervened import KINDS, SIMBA, HalfOfEach, train
from tests.support.twins import agent_of, dense, learned, same, twins

BOTH = [("masked", "sparse"), ("sparse", "masked")]


class Third:
    """Every third weight of matrices and convolutions, in the order of their entries."""

    target = "all"

    def draw(self, parameters: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {
            name: torch.arange(p.numel()).view(p.shape) % 3 == 0
            for name, p in parameters.items()
            if p.ndim >= 2
        }


# --- between backends -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "second"), BOTH)
def test_restored_by_another_backend_and_back_exactly(kind: str, first: str, second: str) -> None:
    agent = agent_of(kind, first)
    train(agent, 3)
    state = agent_state(agent)
    other, again = agent_of(kind, second, seed=1), agent_of(kind, first, seed=2)
    restore_agent(other, state)
    moved = agent_state(other)
    assert not same(moved["learner"]["loss"], state["learner"]["loss"])  # of another form,
    assert same(dense_weights(moved), dense_weights(state))  # and the same weights
    restore_agent(again, moved)
    assert same(agent_state(again), state)


@pytest.mark.parametrize("kind", ["sac", "drq", "obgd", "adaptive"])
def test_moments_and_traces_lie_where_their_weights_do(kind: str) -> None:
    masked, sparse = twins(kind)
    compact = {id(p) for p in sparse.loss.parameters() if id(p) in compact_layers(sparse.loss)}
    seen = 0
    for one, other in zip(masked.learner.steps, sparse.learner.steps, strict=True):
        if one.optimizer is None or other.optimizer is None:
            continue
        layers = compact_layers(sparse.loss)
        for p, q in zip(one.parameters, other.parameters, strict=True):
            for key, value in one.optimizer.state[p].items():
                held = other.optimizer.state[q][key]
                if id(q) in compact and torch.is_tensor(value) and value.dim() >= 2:
                    held, seen = layers[id(q)].expanded(held), seen + 1
                assert same(held, value), key
    assert seen > 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_on_elsewhere_goes_on_alike(kind: str) -> None:
    masked, sparse = twins(kind)
    for agent in (masked, sparse):
        train(agent, 3, seed=1)
    a, b = dense(masked), dense(sparse)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("first", ["masked", "sparse"])
def test_traces_of_as_many_environments_as_a_layer_has_rows(first: str) -> None:
    # The actor's heads are [3, 16] with 16 kept entries: a compact trace of three environments
    # has the shape of a dense one of a matrix.
    wiring: dict[str, Any] = {"scheme": Third(), "count": 3}
    agent = agent_of("obgd", first, **wiring)
    weight = agent.parts.modules["actor"].get_parameter("heads.mean.weight")
    assert weight.shape == ((3, 16) if first == "masked" else (16,))
    train(agent, 4, count=3)
    state = agent_state(agent)
    traces = [v["trace"] for v in state["learner"]["optimizers"]["actor"]["state"].values()]
    assert any(trace.any() for trace in traces)
    for second in ("masked", "sparse"):
        other, again = (agent_of("obgd", b, seed=1, **wiring) for b in (second, first))
        restore_agent(other, state)
        restore_agent(again, agent_state(other))
        assert same(agent_state(again), state)


def test_a_state_is_not_changed_by_restoring_it() -> None:
    state = learned("sac")
    before = copy.deepcopy(state)
    restore_agent(agent_of("sac", "masked", seed=1), state)
    assert same(state, before)


# --- masks that changed -----------------------------------------------------------------


@pytest.mark.parametrize("first", ["masked", "sparse"])
@pytest.mark.parametrize("second", ["masked", "sparse"])
@pytest.mark.parametrize("kind", ["sac", "drq", "obgd"])
def test_masks_that_changed_in_the_run_come_into_force_first(
    kind: str, first: str, second: str
) -> None:
    agent = agent_of(kind, first)
    train(agent, 3)
    parameters = dict(agent.parts.modules["critic"].named_parameters())
    shapes = agent.parts.initial["critic"]
    other = HalfOfEach().draw(
        {name: torch.empty(shapes[name]) for name in parameters}, torch.Generator().manual_seed(8)
    )
    networks = copies(agent.loss, agent.parts.modules)["critic"]
    assert len(networks) == (2 if agent.loss.targets else 1)
    optimizers = [step.optimizer for step in agent.learner.steps if step.optimizer is not None]
    agent.learner.execution.remask(networks, other, optimizers)
    agent.masks.replace("critic", other)
    train(agent, 2, seed=1)
    state = agent_state(agent)

    fresh = agent_of(kind, second, seed=5)
    assert fresh.masks.masks["critic"] != agent.masks.masks["critic"]
    restore_agent(fresh, state)
    assert fresh.masks.masks["critic"] == agent.masks.masks["critic"]
    assert same(dense(fresh), dense_weights(state))
    back = agent_of(kind, first, seed=6)
    restore_agent(back, agent_state(fresh))
    assert same(agent_state(back), state)
    for each in (agent, fresh):
        train(each, 2, seed=2)
    a, b = dense(agent), dense(fresh)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6, msg=name)


# --- as plain tensors -------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["masked", "sparse"])
def test_a_plain_network_takes_the_actor(backend: str) -> None:
    agent = agent_of("sac", backend)
    train(agent, 2)
    weights = dense_weights(agent_state(agent))
    networks = build(register_networks(), SIMBA, NetworkContext(STATE), "simba")
    plain = networks.actor({"mean": 3, "log_std": 3})
    own = {k.removeprefix("actor."): v for k, v in weights.items() if k.startswith("actor.")}
    plain.load_state_dict(own)
    x = torch.randn(7, 5)
    for given, expected in zip(plain(x), agent.parts.modules["actor"](x), strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)
    for name, mask in agent.masks.masks["actor"].items():
        assert not own[name][~mask].any()
        assert own[name][mask].all()


# --- on disk ----------------------------------------------------------------------------


def saved(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(checkpoint.pack(checkpoint.trimmed(state)), file)
    return file.getvalue()


def test_a_checkpoint_is_as_large_as_what_lives(monkeypatch: Any) -> None:
    wide = SimbaOptions(actor=SimbaSize(64, 1), critic=SimbaSize(128, 1), normalise=False)
    monkeypatch.setitem(KINDS, "wide", (*KINDS["sac"][:3], wide, *KINDS["sac"][4:]))

    class Tenth:
        target = "all"

        def draw(self, parameters: Any, generator: torch.Generator) -> Any:
            shapes = {n: p.shape for n, p in parameters.items() if p.ndim >= 2}
            return {n: torch.rand(s, generator=generator) < 0.1 for n, s in shapes.items()}

    agent = agent_of("wide", "sparse", scheme=Tenth())
    train(agent, 2)
    size = len(saved(agent_state(agent)))
    critic, rest = (
        sum(p.numel() for p in module.parameters())
        for module in (agent.parts.modules["critic"], agent.parts.modules["actor"])
    )
    entries = sum(m.shape(n).numel() for m in agent.masks.masks.values() for n in m)
    # weight and two moments each, and the critic's target; a bit for each entry of a mask
    numbers = 4 * (4 * critic + 3 * rest) + entries / 8
    parts = 250 * len(saved({str(i): torch.zeros(1) for i in range(200)})) / 200
    assert numbers < size < numbers + parts
    assert size < 0.25 * 4 * 4 * entries


def test_nothing_is_saved_that_no_tensor_shows() -> None:
    whole = torch.arange(100_000.0)
    state = {"a": whole[:10], "b": [whole[20:30].view(2, 5)]}
    assert len(saved(state)) < 5_000
    assert same(torch.load(io.BytesIO(saved(state))), state)
    shared = {"a": whole[:50_000], "b": whole[50_000:]}
    assert checkpoint.trimmed(shared)["a"].data_ptr() == whole.data_ptr()


def test_an_unknown_format_is_refused_in_one_message(tmp_path: Any) -> None:
    (tmp_path / "checkpoint").mkdir()
    torch.save({"format": 1}, tmp_path / "checkpoint" / "state.pt")
    with pytest.raises(UserError, match="format 1, this version reads 4"):
        checkpoint.read(tmp_path)
