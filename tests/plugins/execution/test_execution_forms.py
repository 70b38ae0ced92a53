"""Masks that begin to remove something in training: layers become compact, learning goes on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from core.agent.state import agent_state, restore_agent
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.sparse import Sparse
from tests.support.intervened import KINDS, STREAM_MLP, train
from tests.support.pruned import (
    BACKENDS,
    acted_through,
    compact,
    dense_at_first,
    distance,
    masks_at,
    prune,
    snapshot,
    train_through,
)
from tests.support.twins import same

torch.set_num_threads(1)
RAW = replace(STREAM_MLP, normalise=False, width=24)
NATIVE = pytest.mark.skipif(native_product.available() is not None, reason="no kernels")


@pytest.fixture
def double(monkeypatch: Any) -> Any:
    """Everything in float64, running statistics left out."""
    for kind in ("obgd", "adaptive", "q"):
        monkeypatch.setitem(KINDS, kind, (*KINDS[kind][:3], RAW, *KINDS[kind][4:]))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def linears(module: nn.Module) -> set[str]:
    return {path for path, m in module.named_modules() if isinstance(m, nn.Linear | SparseLinear)}


# --- the same numbers as masked ---------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "product", "absent"),
    [
        pytest.param("sac", "native", False, marks=NATIVE),
        ("sac", "densified", True),
        pytest.param("mlp", "native", True, marks=NATIVE),
        ("drq", "densified", False),
    ],
)
def test_actor_critics_learn_as_masked_ones(
    kind: str, product: str, absent: bool, double: Any
) -> None:
    found = []
    for execution in (Masked(), Sparse(product=product)):
        agent = dense_at_first(kind, execution, double=True, absent=absent)
        objects = [id(p) for p in agent.loss.parameters()]
        held = {s.phase.name: [id(p) for p in s.parameters] for s in agent.learner.steps}
        found.append(train_through(agent))
        assert [id(p) for p in agent.loss.parameters()] == objects
        steps = agent.learner.steps
        assert {s.phase.name: [id(p) for p in s.parameters] for s in steps} == held
    assert compact(agent.loss) == linears(agent.loss)
    assert distance(*found) < 1e-12


@pytest.mark.parametrize(("kind", "count"), [("obgd", 1), ("adaptive", 2), ("q", 2)])
def test_streams_learn_as_masked_ones(kind: str, count: int, double: Any) -> None:
    found = []
    for make in BACKENDS.values():
        agent = dense_at_first(kind, make(), double=True, count=count)
        found.append(train_through(agent, count))
    assert compact(agent.loss) == linears(agent.loss)
    assert distance(*found) < 1e-12


@pytest.mark.parametrize(
    ("kind", "make"), [("obgd", Masked), ("obgd", Sparse), ("adaptive", Sparse), ("q", Sparse)]
)
def test_a_fused_stream_goes_on_as_its_phases(kind: str, make: Any) -> None:
    found = []
    for fuse in (True, False):
        agent = dense_at_first(kind, make(), fuse=fuse)
        assert (agent.learner._run == agent.learner.step) is not fuse
        found.append(acted_through(agent))
        assert (agent.learner._run == agent.learner.step) is not fuse
    assert distance(*found) < 2e-5
    assert bool(compact(agent.loss)) is (make is Sparse)


@pytest.mark.parametrize("kind", ["sac", "obgd"])
def test_bfloat16_products_begin_with_the_first_mask(kind: str) -> None:
    found = []
    for bf16 in (False, True):
        agent = dense_at_first(kind, Sparse(bf16=bf16), fuse=True)
        fused = agent.learner._run != agent.learner.step
        assert fused is (kind == "obgd" and not bf16)
        found.append(train_through(agent, schedule=(0.5, 0.2)))
        assert all(layer.bf16 is bf16 for layer in agent.loss.modules() if layer_is(layer))
    assert 1e-7 < distance(*found) < 0.1


def layer_is(module: nn.Module) -> bool:
    return isinstance(module, SparseLinear)


def test_a_compiled_update_follows() -> None:
    found = []
    for compiled in (False, True):
        agent = dense_at_first("sac", Sparse())
        if compiled:
            agent.learner.compile("eager")
        found.append(train_through(agent, updates=2, schedule=(1.0, 0.4, 0.2)))
    assert distance(*found) < 1e-5
    torch._dynamo.reset()


# --- the moment of the change -----------------------------------------------------------


def remembered(agent: Any) -> dict[str, torch.Tensor]:
    """What optimizers remember of every parameter, as matrices, by the parameter's name."""
    names = {id(p): n for n, p in agent.loss.named_parameters()}
    owners = {id(m.weight): m for m in agent.loss.modules() if isinstance(m, SparseLinear)}
    found = {}
    for step in agent.learner.steps:
        for p, state in ({} if step.optimizer is None else step.optimizer.state).items():
            for key, value in state.items():
                if value.shape[-1:] == p.shape[-1:]:
                    matrix = owners[id(p)].expanded(value) if id(p) in owners else value
                    found[f"{names[id(p)]}.{key}"] = matrix.clone()
    return found


@pytest.mark.parametrize(("kind", "count"), [("sac", 1), ("drq", 1), ("obgd", 2), ("adaptive", 1)])
def test_weights_targets_moments_and_traces_are_carried_exactly(kind: str, count: int) -> None:
    agent = dense_at_first(kind, Sparse(), count=count)
    train(agent, 3, count=count)
    masks: dict[str, Any] = {}
    for seed, density in enumerate((0.5, 0.3, 1.0, 0.2)):
        before, slots = snapshot(agent), remembered(agent)
        for role in agent.parts.modules:
            masks |= {f"{role}.{n}": m for n, m in masks_at(agent, role, density, seed).items()}
        prune(agent, density, seed)
        after, moved = snapshot(agent), remembered(agent)
        assert compact(agent.loss) == (set() if density == 1 else linears(agent.loss))
        assert len(slots) > 8
        for name, value in {**before, **slots}.items():
            key = name.removeprefix("target_")
            mask = next((m for k, m in masks.items() if key.startswith(k)), None)
            expected = value if mask is None else value * mask
            assert same({**after, **moved}[name], expected), name
        train(agent, 2, seed + 1, count)


@pytest.mark.parametrize("make", BACKENDS.values())
def test_forms_follow_the_masks_and_nothing_else(make: Any) -> None:
    agent = dense_at_first("sac", make(), absent=True)
    for density in (0.0, 0.5, 0.0, 1.0, 0.3):
        prune(agent, density, 1)
        train(agent, 1)
        found = compact(agent.loss)
        assert found == (linears(agent.loss) if make is Sparse and 0 < density < 1 else set())
        choices = agent.learner.execution.report().get("layers", {})
        assert {layer["choice"] for layer in choices.values()} == (
            set() if make is Masked else {"compact"} if found else {"masked"}
        )
        assert len(choices) == (
            0 if make is Masked else sum(len(masks) for masks in agent.masks.masks.values())
        )


def test_no_random_number_is_drawn() -> None:
    agent = dense_at_first("sac", Sparse())
    before = torch.get_rng_state()
    for density in (0.5, 1.0, 0.2):
        prune(agent, density, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_that_of_what_lives() -> None:
    agent = dense_at_first("sac", Sparse())
    train(agent, 1)

    def held() -> int:
        tensors = [p.data for p in agent.loss.parameters()]
        for step in agent.learner.steps:
            for state in ({} if step.optimizer is None else step.optimizer.state).values():
                tensors += state.values()
        whole = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(whole.values())

    shapes = [s.numel() for sizes in agent.parts.initial.values() for s in sizes.values()]
    full = held()
    assert full > 4 * 3 * sum(shapes)
    prune(agent, 0.1, 1)
    assert held() < 0.25 * full
    masks = sum(m.shape(n).numel() for m in agent.masks.masks.values() for n in m)
    assert agent.learner.execution._dense.index_bytes == 0
    assert agent.learner.execution._dense._attached == []
    prune(agent, 1.0, 1)
    assert held() == full
    assert masks


# --- going on elsewhere -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fuse", "density"),
    [
        ("sac", False, 0.3),
        ("drq", False, 1.0),
        ("obgd", False, 1.0),
        ("obgd", True, 0.3),
        ("adaptive", True, 1.0),
    ],
)
def test_a_restored_agent_goes_on_bit_for_bit(kind: str, fuse: bool, density: float) -> None:
    agent = dense_at_first(kind, Sparse(), fuse=fuse)
    train_through(agent, schedule=(0.6, density))
    fresh = dense_at_first(kind, Sparse(), fuse=fuse, seed=1)
    restore_agent(fresh, copy.deepcopy(agent_state(agent)))
    assert compact(fresh.loss) == compact(agent.loss)
    for each in (agent, fresh):
        train(each, 3, seed=7)
        prune(each, 0.2, 5)
        train(each, 2, seed=8)
    assert same(agent_state(fresh), agent_state(agent))
