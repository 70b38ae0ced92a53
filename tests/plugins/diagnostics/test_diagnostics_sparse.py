"""Diagnostics say the same of an agent whether removed weights are stored or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch.utils._python_dispatch import TorchDispatchMode

from core.agent.agent import Agent
from core.api import BatchOptions, Bracketing, DiagnosticContext, NetworkLayout, UserError
from core.training.agent_view import CurrentAgent
from plugins.diagnostics import activations, register_diagnostics
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.networks.options import SimbaOptions, SimbaSize
from tests.plugins.diagnostics.corridor import Corridor
from tests.support.intervened import KINDS, train, transitions
from tests.support.twins import agent_of, twins
from tests.support.views import make_view

COMPONENTS = {component.name: component for component in register_diagnostics()}
OPTIONS: dict[str, dict[str, Any]] = {
    "simplicity_bias": {"points": 20},
    "gradient_interference": {"samples": 12},
    "dormant_ratio": {"activations": ("pre", "post")},
}


def view_of(agent: Agent) -> CurrentAgent:
    spec = agent.spec

    class Noise(Corridor):
        def root(self) -> TensorDict:
            kind = torch.randint(0, 256, (1, *spec.observation), dtype=torch.uint8)
            flat = torch.randn(1, *spec.observation)
            return TensorDict({"observation": kind if spec.pixels else flat}, [1])

    batch = transitions(spec, 256, seed=9)
    environments = Noise((9, "terminated"), (7, "terminated"), (1, ""))
    return make_view(agent, batch, environments=environments)


def measured(agent: Agent, name: str, **options: Any) -> dict[str, Any] | str:
    """What a diagnostic says, or why it refuses the agent."""
    component = COMPONENTS[name]
    given: Any = component.options
    context = DiagnosticContext(agent.spec, agent.loss, agent.parts.modules, 0.99)
    try:
        diagnostic = component.build(given(**OPTIONS.get(name, {}) | options), context)
    except UserError as error:
        return str(error)
    view = view_of(agent)
    torch.manual_seed(7)
    if isinstance(diagnostic, Bracketing):
        diagnostic.before_update(view)
        train(agent, 1, seed=5)
    return dict(diagnostic.measure(view))


@pytest.mark.parametrize("kind", KINDS)
def test_every_diagnostic_says_the_same_within_rounding(kind: str) -> None:
    pair = twins(kind)
    # Those that need an update move the agents, and come last.
    for name in sorted(COMPONENTS, key=lambda name: name == "churn"):
        a, b = (measured(agent, name) for agent in pair)
        if isinstance(a, str):
            assert a == b
            assert kind != "sac", "not one diagnostic refuses it"
            continue
        assert isinstance(b, dict)
        assert list(a) == list(b)
        for label in a:
            one, other = (torch.as_tensor(x[label]).double() for x in (a, b))
            told = f"{name}/{label}: {one} {other}"
            torch.testing.assert_close(one, other, rtol=2e-4, atol=1e-5, equal_nan=True, msg=told)


def test_layers_are_called_what_they_are_called_when_dense() -> None:
    for agent in twins("drq"):
        found = measured(agent, "weight_rank")
        assert {"critic.members.0.trunk.0", "encoder.convolutions.0"} & set(found)


def test_interference_in_little_memory_is_the_same() -> None:
    masked, sparse = twins("sac")
    whole = measured(masked, "gradient_interference")
    in_turns = measured(sparse, "gradient_interference", memory_mb=1)
    assert isinstance(whole, dict)
    assert isinstance(in_turns, dict)
    torch.testing.assert_close(whole["critic"], in_turns["critic"], rtol=1e-4, atol=1e-5)


def test_chains_come_apart_where_activations_are_looked_at() -> None:
    _, sparse = twins("sac")
    critic = sparse.parts.modules["critic"]
    inputs = (torch.randn(6, 5), torch.randn(6, 3))
    seen = activations.outputs(critic, inputs, NetworkLayout(critic).layers(), torch.clone)
    assert all(len(given) == 1 for given in seen.values())
    assert any(isinstance(layer, SparseLinear) for layer in NetworkLayout(critic).layers().values())
    units = activations.outputs(critic, inputs, NetworkLayout(critic).activations(), torch.clone)
    block = "members.0.trunk.blocks.0"
    assert torch.equal(units[f"{block}.activation"][0], seen[f"{block}.expand"][0].relu())


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made inside."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        for tensor in answer if isinstance(answer, tuple | list) else (answer,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.nbytes)
        return answer


WIDE = SimbaOptions(actor=SimbaSize(64, 2), critic=SimbaSize(128, 2), normalise=False)


class Twentieth:
    target = "all"

    def draw(self, parameters: Any, generator: torch.Generator) -> Any:
        shapes = {name: p.shape for name, p in parameters.items() if p.ndim >= 2}
        return {n: torch.rand(s, generator=generator) < 0.05 for n, s in shapes.items()}


@pytest.fixture(scope="module")
def wide() -> Agent:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "wide", (*KINDS["sac"][:3], WIDE, *KINDS["sac"][4:]))
        agent = agent_of("wide", "sparse", scheme=Twentieth())
        train(agent, 1)
    return agent


@pytest.mark.parametrize("name", sorted(COMPONENTS.keys() - {"gradient_interference"}))
def test_no_network_is_made_dense_at_once(name: str, wide: Agent) -> None:
    options: dict[str, Any] = {"batch": BatchOptions(size=4)}
    if name in ("parameter_norm", "weight_rank", "q_bias", "simplicity_bias"):
        options = {}
    layer = 4 * 512 * 128
    with Largest() as largest:
        assert isinstance(measured(wide, name, **options), dict)
    assert 0 < largest.bytes < layer if name != "weight_rank" else largest.bytes == 2 * layer
