"""Stream AC(lambda) as it is commonly written: the rival of ``bench/streaming.py``.

``python bench/plain_streaming.py Hopper-v4 --steps 150000 --seed 0`` trains it, as a second
implementation to compare returns with, and prints mean returns by 20,000 steps.

Separate actor and critic, a graph for every pass, an optimizer that loops over parameters and
reads each tensor's norm with ``.item()``, tensors made anew from NumPy at every step. Written
from the formulas of Elsayed et al. 2024 (arXiv 2410.14606).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Array = np.ndarray[Any, Any]
GAMMA, LAMBDA, ENTROPY = 0.99, 0.8, 0.01


class PlainObGD(torch.optim.Optimizer):
    """Overshooting-bounded gradient descent, one parameter at a time."""

    def __init__(self, parameters: Iterable[nn.Parameter], kappa: float) -> None:
        super().__init__(parameters, {"lr": 1.0, "kappa": kappa})

    def step(self, delta: float, reset: bool) -> None:  # type: ignore[override]
        (group,) = self.param_groups
        norm = 0.0
        for p in group["params"]:
            if "trace" not in self.state[p]:
                self.state[p]["trace"] = torch.zeros_like(p)
            trace = self.state[p]["trace"]
            trace.mul_(GAMMA * LAMBDA).add_(p.grad)
            norm += trace.abs().sum().item()
        bound = group["lr"] * group["kappa"] * max(abs(delta), 1.0) * norm
        size = group["lr"] / bound if bound > 1 else group["lr"]
        for p in group["params"]:
            trace = self.state[p]["trace"]
            p.data.add_(delta * trace, alpha=-size)
            if reset:
                trace.zero_()


class PlainNet(nn.Module):
    """Two hidden layers, layer norm without parameters, leaky ReLU, linear heads."""

    def __init__(self, inputs: int, width: int, heads: list[int]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.heads = nn.ModuleList([nn.Linear(width, size) for size in heads])

    def forward(self, x: Tensor) -> list[Tensor]:
        for layer in (self.first, self.second):
            x = layer(x)
            x = F.leaky_relu(F.layer_norm(x, x.shape[-1:]))
        return [head(x) for head in self.heads]


class PlainAgent:
    """Acts and learns on normalised observations and scaled rewards."""

    def __init__(self, observations: int, actions: int, width: int) -> None:
        self.actor = PlainNet(observations, width, [actions, actions])
        self.critic = PlainNet(observations, width, [1])
        self.move_actor = PlainObGD(self.actor.parameters(), kappa=3.0)
        self.move_critic = PlainObGD(self.critic.parameters(), kappa=2.0)

    def policy(self, observation: Tensor) -> torch.distributions.Normal:
        mean, raw = self.actor(observation)
        return torch.distributions.Normal(mean, F.softplus(raw))

    def act(self, observation: Array) -> Array:
        action: Array = self.policy(torch.from_numpy(observation)).sample().numpy()
        return action

    def update(self, s: Array, a: Array, reward: float, following: Array, done: bool) -> None:
        now, then = torch.tensor(s), torch.tensor(following)
        action = torch.tensor(a)
        (value,), (next_value,) = self.critic(now), self.critic(then)
        delta = (reward + GAMMA * next_value * (1 - done) - value).item()
        policy = self.policy(now)
        log_prob = policy.log_prob(action).sum()
        entropy = policy.entropy().sum() * np.sign(delta)
        self.move_critic.zero_grad()
        self.move_actor.zero_grad()
        (-value).sum().backward()
        (-log_prob - ENTROPY * entropy).backward()
        self.move_actor.step(delta, done)
        self.move_critic.step(delta, done)


class PlainStatistics:
    """Running mean and sample variance, by Welford."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(shape), np.zeros(shape)

    def update(self, x: Array | float) -> None:
        self.count += 1
        delta = x - self.mean
        self.mean = self.mean + delta / self.count
        self.squares = self.squares + delta * (x - self.mean)

    @property
    def std(self) -> Array:
        variance = self.squares / (self.count - 1) if self.count > 1 else np.ones_like(self.mean)
        root: Array = np.sqrt(variance + 1e-8)
        return root


class PlainObservations(gymnasium.Wrapper):  # type: ignore[misc,type-arg]
    """Clips actions, scales rewards, normalises observations and appends the time."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(gymnasium.wrappers.ClipAction(environment))
        assert environment.observation_space.shape is not None
        assert environment.spec is not None
        self.observations = PlainStatistics(environment.observation_space.shape)
        self.returns, self.discounted = PlainStatistics(()), 0.0
        self.limit = environment.spec.max_episode_steps or 1000
        self.steps, self.taken, self.sum = 0, 0, 0.0
        self.ended: list[tuple[int, float]] = []

    def reset(self, **arguments: Any) -> tuple[Array, dict[str, Any]]:
        observation, info = self.env.reset(**arguments)
        self.discounted, self.steps = 0.0, 0
        return self._observe(observation), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        self.taken += 1
        self.sum += float(reward)
        if terminated or truncated:
            self.ended.append((self.taken, self.sum))
            self.sum = 0.0
        self.discounted = GAMMA * self.discounted + float(reward)
        self.returns.update(self.discounted)
        scaled = float(reward / self.returns.std)
        return self._observe(observation), scaled, terminated, truncated, info

    def _observe(self, observation: Array) -> Array:
        self.observations.update(observation)
        normal = (observation - self.observations.mean) / self.observations.std
        time = -0.5 + max(self.steps - 1, 0) / self.limit
        return np.append(normal, time).astype(np.float32)


class PlainLoop:
    """One environment and one agent, a step at a time."""

    def __init__(self, id_: str, width: int, seed: int = 0) -> None:
        self.environment = PlainObservations(gymnasium.make(id_))
        self.observation, _ = self.environment.reset(seed=seed)
        space = self.environment.action_space
        assert space.shape is not None
        self.agent = PlainAgent(len(self.observation), space.shape[0], width)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            action = self.agent.act(self.observation)
            following, reward, terminated, truncated, _ = self.environment.step(action)
            done = terminated or truncated
            self.agent.update(self.observation, action, reward, following, done)
            self.observation = self.environment.reset()[0] if done else following


@torch.no_grad()
def initialise_sparsely(network: PlainNet) -> None:
    """Uniform weights, nine inputs in ten of each unit at zero, no biases."""
    for layer in (network.first, network.second, *network.heads):
        assert isinstance(layer, nn.Linear)
        outputs, inputs = layer.weight.shape
        layer.weight.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
        layer.bias.zero_()
        for unit in range(outputs):
            layer.weight[unit, torch.randperm(inputs)[: math.ceil(0.9 * inputs)]] = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("id")
    parser.add_argument("--steps", type=int, default=150_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    loop = PlainLoop(options.id, options.width, options.seed)
    for network in (loop.agent.actor, loop.agent.critic):
        initialise_sparsely(network)
    loop.run(options.steps)
    blocks: dict[int, list[float]] = {}
    for step, total in loop.environment.ended:
        blocks.setdefault((step - 1) // 20_000, []).append(total)
    print(", ".join(f"{np.mean(totals):.0f}" for totals in blocks.values()))


if __name__ == "__main__":
    main()
