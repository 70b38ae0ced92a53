"""Stream AC(lambda) and Stream Q(lambda) on linear networks, in NumPy, from the formulas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import nn

FEATURES, ACTIONS = 4, 2


class World:
    """``count`` environments whose course no action changes; both kinds of end, at own times."""

    def __init__(self, count: int, steps: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)

        def observations():
            return draw.normal([0.5, -1, 3, 0], [1, 2, 0.3, 5], (steps, count, FEATURES))

        self.count, self.steps = count, steps
        self.following, self.observation = observations(), observations()
        self.reward = draw.normal(0.3, 2.0, (steps, count))
        age = np.arange(steps)[:, None] + 3 * np.arange(count)
        self.terminated, self.truncated = age % 10 == 4, age % 10 == 9
        self.ended = self.terminated | self.truncated
        self.begins = np.vstack([np.ones((1, count), bool), self.ended[:-1]])
        for t in range(1, steps):
            on = ~self.ended[t - 1]
            self.observation[t, on] = self.following[t - 1, on]

    def root(self, t: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.observation[t]), torch.from_numpy(self.begins[t])

    def batch(self, t: int, action: torch.Tensor, gamma: float) -> TensorDict:
        """What the data source ``stream`` gives for step ``t``."""
        column = {
            "reward": self.reward[t],
            "discount": gamma * (1.0 - self.terminated[t]),
            "done": self.ended[t],
            "terminated": self.terminated[t],
            "truncated": self.truncated[t],
        }
        after = {name: torch.from_numpy(value)[:, None] for name, value in column.items()}
        after["observation"] = torch.from_numpy(self.following[t])
        root = {"observation": torch.from_numpy(self.observation[t]), "action": action}
        return TensorDict({**root, "next": after}, [self.count])


# --- stand-ins of the agent's parts, in float64 -----------------------------------------


class LinearActor(nn.Module):
    def __init__(self, actions: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(FEATURES, actions) for _ in range(2))

    def forward(self, x):
        return tuple(head(x) for head in self.heads)


class LinearCritic(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(FEATURES, outputs)

    def forward(self, x):
        return self.head(x)[None]


class AllRows(nn.Module):
    """Statistics by their definition, over every row ever seen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[np.ndarray] = []

    def update(self, observation):
        self.rows += list(observation.numpy().copy())

    def forward(self, observation):
        return torch.from_numpy(standardised(self.rows, observation.numpy()))


def standardised(rows, x):
    rows = np.array(rows)
    variance = rows.var(0, ddof=1) if len(rows) > 1 else np.ones(rows.shape[1])
    return (x - rows.mean(0)) / np.sqrt(variance + 1e-8)


class LinearParts:
    def __init__(self, normalise: bool = True) -> None:
        self.normalise = normalise

    def normaliser(self):
        return AllRows() if self.normalise else None

    def encoder(self):
        return None

    def actor(self, heads):
        assert list(heads) == ["mean", "std"]
        return LinearActor(heads["mean"]).double()

    def critic(self, members, outputs=1, *, action=True):
        assert (members, action) == (1, False)
        return LinearCritic(outputs).double()


# --- the formulas -----------------------------------------------------------------------


@dataclass
class Settings:
    gamma: float
    lamda: float
    kappa: dict[str, float]
    entropy: float = 0.0
    truncation: str = "end"
    scale: bool = True
    leak: bool = False
    normalise: bool = True
    cut: str = "after"


@dataclass
class Trace:
    """ObGD in ascent form: ``w += a mean_i(delta_i z_i)``; one flat vector of weights."""

    weights: np.ndarray
    kappa: float
    decay: float
    z: Any = None

    def step(self, gradients, delta, reset, cut):
        z = np.zeros_like(gradients) if self.z is None else self.z
        z = np.where(cut[:, None], 0, z)
        z = self.decay * z + gradients
        norms = np.abs(z).sum(1)
        bound = self.kappa * np.mean(np.maximum(np.abs(delta), 1) * norms)
        size = min(1.0, 1.0 / bound)
        self.weights = self.weights + size * np.mean(delta[:, None] * z, 0)
        self.z = np.where(reset[:, None], 0, z)
        return {"trace_norm": norms.mean(), "step_size": size, "bound_active": float(bound > 1)}


@dataclass
class Statistics:
    settings: Settings
    world: World
    rows: list = field(default_factory=list)
    sums: Any = None
    all_sums: list = field(default_factory=list)

    def begin(self, t):
        world = self.world
        self.rows += list(world.observation[t, world.begins[t]])

    def normal(self, x):
        return standardised(self.rows, x) if self.settings.normalise else x

    def transition(self, t):
        """Normalised s and s', scaled reward, discount, ends, divisor."""
        world, settings = self.world, self.settings
        s = self.normal(world.observation[t])
        self.rows += list(world.following[t])
        following = self.normal(world.following[t])
        ended, reward = world.ended[t], world.reward[t]
        before = np.zeros(world.count) if self.sums is None else self.sums
        if settings.leak:
            self.sums = settings.gamma * np.where(ended, 0, before) + reward
            self.all_sums += list(self.sums)
        else:
            u = settings.gamma * before + reward
            self.all_sums += list(u)
            self.sums = np.where(ended, 0, u)
        variance = np.var(self.all_sums, ddof=1) if len(self.all_sums) > 1 else 1.0
        scale = np.sqrt(variance + 1e-8) if settings.scale else 1.0
        stop = ended if settings.truncation == "end" else world.terminated[t]
        return s, following, reward / scale, settings.gamma * (1.0 - stop), ended, scale


def outer(x, g):
    """Gradient rows of a linear layer, weight then bias: ``[N, o F + o]``."""
    return np.concatenate([(g[:, :, None] * x[:, None, :]).reshape(len(x), -1), g], 1)


def layer(weights, x, outputs):
    matrix, bias = weights[:-outputs].reshape(outputs, -1), weights[-outputs:]
    return x @ matrix.T + bias


class ActorCritic:
    def __init__(self, settings: Settings, world: World, actor, critic) -> None:
        self.settings, self.statistics = settings, Statistics(settings, world)
        decay = settings.gamma * settings.lamda
        self.actor = Trace(actor, settings.kappa["actor"], decay)
        self.critic = Trace(critic, settings.kappa["critic"], decay)

    def policy(self, x):
        half = len(self.actor.weights) // 2
        mean = layer(self.actor.weights[:half], x, ACTIONS)
        raw = layer(self.actor.weights[half:], x, ACTIONS)
        return mean, raw, np.log(1 + np.exp(raw))

    def act(self, t, z):
        self.statistics.begin(t)
        mean, _, std = self.policy(self.statistics.normal(self.statistics.world.observation[t]))
        return mean + std * z

    def delta(self, s, following, reward, discount):
        value = layer(self.critic.weights, s, 1)[:, 0]
        return reward + discount * layer(self.critic.weights, following, 1)[:, 0] - value, value

    def update(self, t, action):
        s, following, reward, discount, ended, scale = self.statistics.transition(t)
        delta, value = self.delta(s, following, reward, discount)
        none = np.zeros_like(ended)
        mean, raw, std = self.policy(s)
        sign = np.sign(delta)[:, None]
        by_mean = (action - mean) / std**2
        by_std = (action - mean) ** 2 / std**3 - 1 / std + self.settings.entropy * sign / std
        by_raw = by_std / (1 + np.exp(-raw))
        gradients = np.concatenate([outer(s, by_mean), outer(s, by_raw)], 1)
        critic = self.critic.step(outer(s, np.ones((len(s), 1))), delta, ended, none)
        actor = self.actor.step(gradients, delta, ended, none)
        after, _ = self.delta(s, following, reward, discount)
        entropy = 0.5 * np.log(2 * np.pi * np.e * std**2).sum(1).mean()
        metrics = {"train/td_error": np.abs(delta).mean(), "train/value": value.mean()}
        if self.settings.scale:
            metrics["train/reward_scale"] = scale
        metrics |= {f"{name}/critic": x for name, x in critic.items()}
        metrics["train/entropy"] = entropy
        metrics |= {f"{name}/actor": x for name, x in actor.items()}
        return delta, metrics | {"train/overshoot": np.mean(np.sign(after) * np.sign(delta) < 0)}


class QLearning:
    def __init__(self, settings: Settings, world: World, choices: int, critic) -> None:
        self.settings, self.statistics = settings, Statistics(settings, world)
        self.choices = choices
        self.critic = Trace(critic, settings.kappa["critic"], settings.gamma * settings.lamda)

    def greedy(self, t):
        self.statistics.begin(t)
        x = self.statistics.normal(self.statistics.world.observation[t])
        return layer(self.critic.weights, x, self.choices).argmax(1)

    def update(self, t, action):
        s, following, reward, discount, ended, _ = self.statistics.transition(t)
        values = layer(self.critic.weights, s, self.choices)
        chosen = np.eye(self.choices)[action]
        best = layer(self.critic.weights, following, self.choices).max(1)
        delta = reward + discount * best - (values * chosen).sum(1)
        exploratory = values.argmax(1) != action
        none = np.zeros_like(ended)
        reset = ended | exploratory if self.settings.cut == "after" else ended
        cut = exploratory if self.settings.cut == "before" else none
        self.critic.step(outer(s, chosen), delta, reset, cut)
        return delta, exploratory
