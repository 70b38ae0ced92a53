"""What an agent takes of memory: as reckoned, and nothing dense is left behind by building it."""

from __future__ import annotations

import gc
from dataclasses import asdict
from typing import Any

import pytest
import torch

from core.api import OptimizerContext
from core.api.losses import Phase
from core.config import load, resolve
from core.plugins import Plugins
from plugins.commands.describe.arithmetic import DenseProduct, dense_products, describe
from plugins.commands.describe.memory import Footprint, footprint, remembered
from plugins.networks.options import SimbaOptions, SimbaSize
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamWOptions
from tests.conftest import PRESETS
from tests.support.agents import CPU, build
from tests.support.intervened import KINDS, train
from tests.support.twins import agent_of, twins

WIDE = SimbaOptions(actor=SimbaSize(128, 1), critic=SimbaSize(512, 2), normalise=False)


class Tenth:
    target = "all"

    def draw(self, parameters: Any, generator: torch.Generator) -> Any:
        shapes = {name: p.shape for name, p in parameters.items() if p.ndim >= 2}
        return {n: torch.rand(s, generator=generator) < 0.1 for n, s in shapes.items()}


def live_bytes() -> int:
    """Of all tensors that Python knows, memory that they share counted once."""
    gc.collect()
    held = {}
    for found in gc.get_objects():
        if issubclass(type(found), torch.Tensor) and not found.is_meta:
            storage = found.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    return sum(held.values())


def reckoned(agent: Any, kind: str) -> Footprint:
    *_, name, options = KINDS[kind]
    return footprint(agent, build(register_optimizers(), options, OptimizerContext(CPU), name))


@pytest.mark.parametrize("backend", ["masked", "sparse"])
def test_an_agent_holds_what_was_reckoned_and_no_more(backend: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(KINDS, "wide", (*KINDS["sac"][:3], WIDE, *KINDS["sac"][4:]))
    before = live_bytes()
    agent = agent_of("wide", backend, scheme=Tenth())
    built = live_bytes() - before
    expected = reckoned(agent, "wide")
    small = 100_000
    stands = expected.weights + expected.targets + expected.masks
    assert built <= stands + expected.index + small
    train(agent, 1)
    learned = live_bytes() - before
    assert learned == pytest.approx(expected.total - expected.gradients, abs=small)
    dense = 4 * sum(s.numel() for shapes in agent.parts.initial.values() for s in shapes.values())
    assert (expected.total < 0.8 * dense) == (backend == "sparse")


@pytest.mark.parametrize("kind", KINDS)
def test_optimizer_state_is_as_reckoned(kind: str) -> None:
    for agent in twins(kind):
        held = {
            value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
            for step in agent.learner.steps
            if step.optimizer is not None
            for state in step.optimizer.state.values()
            for value in state.values()
            if torch.is_tensor(value) and value.dim()
        }
        # the moments of a single number, the temperature, are left out above
        assert sum(held.values()) == pytest.approx(reckoned(agent, kind).optimizer, abs=8)


def test_what_adam_and_sgd_remember() -> None:
    phase = Phase("critic", lambda batch: (None, {}), (), {})
    adam = build(register_optimizers(), AdamWOptions(), OptimizerContext(CPU))
    assert remembered(adam, phase) == 2
    assert remembered(lambda parameters, *_: torch.optim.SGD(parameters, 0.1), phase) == 0


# --- describe ---------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["quickstart", "streaming_quickstart"])
def test_a_description_is_of_the_dense_network_whatever_is_stored(
    preset: str, plugins: Plugins
) -> None:
    path = PRESETS / f"{preset}.yaml"
    masked, sparse = (
        describe(resolve(load([path], [f"execution={name}"]), plugins))
        for name in ("masked", "sparse")
    )
    assert (masked.update_madds, masked.kept_madds) == (sparse.update_madds, sparse.kept_madds)
    for a, b in zip(masked.networks, sparse.networks, strict=True):
        for one, other in zip(a.layers, b.layers, strict=True):
            assert asdict(one) == asdict(other) | {"norm": pytest.approx(other.norm, rel=1e-6)}
        assert (a.parameters, a.kept) == (b.parameters, b.kept)
        matrices = [layer for layer in b.layers if layer.density < 1]
        assert matrices
        assert all(len(layer.shape) == 2 for layer in matrices)
    weights = 4 * sum(network.kept for network in sparse.networks)
    assert weights <= sparse.memory.weights <= weights + 100
    assert sparse.memory.total < 0.4 * masked.memory.total


def test_counting_leaves_the_layers_as_they_are() -> None:
    _, sparse = twins("sac")
    before = list(sparse.loss.modules())
    with dense_products(sparse.loss):
        inside = list(sparse.loss.modules())
        assert sum(isinstance(module, DenseProduct) for module in inside) > 10
        assert len(inside) == len(before)
    assert all(a is b for a, b in zip(sparse.loss.modules(), before, strict=True))
