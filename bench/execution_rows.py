"""One observation at a time: acting, and an update by ObGD with eligibility traces.

A SimBa value network of 96 inputs and two blocks. *Eager dense* is plain PyTorch with an
optimizer that loops over parameters, as the streaming papers' code does; *fused dense* are our
own compiled kernels for one row on the same dense network; *sparse* are those for kept weights.
An update takes V(s) and V(s'), adds the gradient to the trace, and moves the weights by the bounded
step; both kinds of kernels take both values in one pass over the weights, and move them in it.
Before timing, all are given the same weights and must walk alike.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor, nn

from bench.agents import SPEC, Masks, component, density, draw, execution, masked_copy
from bench.plain_streaming import GAMMA, LAMBDA, PlainObGD
from bench.timing import Clock, Times, compared, counts_for, repeated, say, table, take_turns
from core.api import EnvironmentSpec, NetworkContext, dense
from plugins.networks import register_networks
from plugins.networks.options import SimbaSize
from plugins.optimizers.obgd import ObGD

INPUTS, BLOCKS, KAPPA = 96, 2, 2.0
EAGER, FUSED = "eager dense", "fused dense"
KINDS = {"act + update": "both", "act": "act", "update": "update"}
"""Methods of :class:`Agent`."""
REWARDS = 64
"""Transitions that are gone through again and again."""


def value_network(width: int) -> nn.Module:
    spec = EnvironmentSpec((INPUTS,), SPEC.action)
    options = {"critic": SimbaSize(width, BLOCKS)}
    networks = component(register_networks(), "simba", NetworkContext(spec), **options)
    network: nn.Module = networks.critic(1, action=False)
    return network


class Agent:
    """Values and updates, on transitions of noise."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.states = list(torch.randn(REWARDS + 1, INPUTS, generator=generator))
        self.rewards = torch.randn(REWARDS, generator=generator).tolist()
        self.place = 0

    def value(self, state: Tensor) -> float:
        raise NotImplementedError

    def learn(self, reward: float, state: Tensor, following: Tensor) -> None:
        raise NotImplementedError

    def act(self) -> None:
        self.value(self.states[self.place])

    def update(self) -> None:
        at = self.place
        self.place = (at + 1) % REWARDS
        self.learn(self.rewards[at], self.states[at], self.states[at + 1])

    def both(self) -> None:
        self.act()
        self.update()


@final
class Eager(Agent):
    """Plain PyTorch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.optimizer = PlainObGD(network.parameters(), KAPPA)

    @torch.no_grad()
    def value(self, state: Tensor) -> float:
        return float(self.network(state[None]).item())

    def learn(self, reward: float, state: Tensor, following: Tensor) -> None:
        now = self.network(state[None]).squeeze()
        delta = reward + GAMMA * self.value(following) - now.item()
        self.optimizer.zero_grad()
        (-now).backward()
        self.optimizer.step(delta, False)


@final
class Rows(Agent):
    """By a backend's kernels for one row."""

    def __init__(self, backend: Any, network: nn.Module, masks: Masks) -> None:
        super().__init__()
        self.backend, self.network = backend, backend.attach(network, masks)
        self.online = backend.online(self.network)
        if self.online is None:
            raise RuntimeError("this backend has no kernels for one row of a SimBa network")
        self.optimizer = ObGD(self.network.parameters(), 1.0, GAMMA, LAMBDA, KAPPA)
        self.gradient = torch.tensor([-1.0])

    def value(self, state: Tensor) -> float:
        return float(self.online.forward(state).item())

    def learn(self, reward: float, state: Tensor, following: Tensor) -> None:
        now, then = self.online.forward_both(state, following)
        delta = reward + GAMMA * then.item() - now.item()
        self.optimizer.online_step(self.online, self.gradient, delta)


def check_same(agents: dict[str, Agent], masks: Masks, steps: int = 10) -> None:
    """From the same weights the dense ones walk alike, and the sparse like a masked one.

    Raises:
        AssertionError: the weights differ by more than rounding.
    """
    (sparse,) = [name for name in agents if name not in (EAGER, FUSED)]
    start = deepcopy(agents[EAGER].network)  # type: ignore[attr-defined]
    masked = Rows(execution("masked", 1), masked_copy(start, masks), masks)
    for agent in (*agents.values(), masked):
        for _ in range(steps):
            agent.update()
    pairs: list[tuple[Any, Any]] = [(agents[FUSED], agents[EAGER]), (agents[sparse], masked)]
    for one, other in pairs:
        for name, _ in one.network.named_parameters():
            a, b = dense(one.network, name), dense(other.network, name)
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def measure(width: int, rounds: int, sparsity: float, clock: Clock) -> dict[str, Any]:
    """Times by kind, and the density."""
    torch.manual_seed(0)
    say(f"rows, width {width}, sparsity {sparsity:g}")
    network = value_network(width)
    masks = draw("critic", network, sparsity)
    label = f"sparse {sparsity:g}"
    agents: dict[str, Agent] = {
        EAGER: Eager(deepcopy(network)),
        FUSED: Rows(execution("masked", 1), deepcopy(network), {}),
        label: Rows(execution("sparse", 1), deepcopy(network), masks),
    }
    check_same(agents, masks)
    times: dict[str, Times] = {}
    for kind, method in KINDS.items():
        calls = {name: repeated(getattr(agent, method)) for name, agent in agents.items()}
        times[kind] = take_turns(calls, rounds, counts_for(calls, 0.05, clock), clock)
    return {"times": times, "density": density(network, masks)}


def show(width: int, results: dict[str, Any]) -> None:
    for kind, times in results["times"].items():
        title = f"One row, {kind}: SimBa {width} x {BLOCKS}, 1/density {1 / results['density']:.1f}"
        headings = ["way", "ms (quartiles)", f"x {EAGER}", f"x {FUSED}"]
        table(title, headings, compared(times, (EAGER, FUSED), 3))


def run(widths: list[int], rounds: int, clock: Clock, sparsities: list[float]) -> dict[str, Any]:
    """Measure and show every width and sparsity."""
    results = {}
    for width in widths:
        for sparsity in sparsities:
            found = results[f"{width}, {sparsity:g}"] = measure(width, rounds, sparsity, clock)
            show(width, found)
    return results
