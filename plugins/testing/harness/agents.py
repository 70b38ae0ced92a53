"""Tiny agents that learn from made-up transitions, wired and driven as a run does it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from tensordict import TensorDict, TensorDictBase

from core.agent.agent import Agent, build_agent
from core.agent.randomness import derived_seed, seed_everything
from core.agent.state import agent_state, prefixes, restore_agent
from core.api.environments import EnvironmentSpec
from core.api.layers import dense
from core.config import RunConfig, resolve
from core.config.load import Loaded
from core.plugins import Plugins
from core.training.agent_view import CurrentAgent
from core.training.diagnostics import DiagnosticRunner
from core.training.mask_updates import MaskUpdates
from core.training.recent_transitions import RecentTransitions
from plugins.testing.harness.snapshots import named

if TYPE_CHECKING:
    from torch import nn

CPU = torch.device("cpu")
STATES = EnvironmentSpec((8,), 4)
CHOICES = EnvironmentSpec((8,), 4, discrete=True)
PIXELS = EnvironmentSpec((9, 20, 20), 2, pixels=True, frame_stack=3)
BATCH = 16
"""Transitions in a batch of replay."""
SEED, MASK_SEED = 1, 2
EPISODE = 10
"""Steps of a made-up episode; every other one ends by termination, the rest by a time limit."""

_COMMON: dict[str, Any] = {
    "frames": 1000,
    "seed": SEED,
    "mask_seed": MASK_SEED,
    # named because a preset must; no environment is ever made
    "environment": {"name": "gymnasium", "id": "none"},
    "execution": {"name": "masked"},
}
_REPLAY = {"name": "replay", "batch_size": BATCH, "learning_starts": 0}
_SIMBA = {"actor": {"width": 16, "blocks": 1}, "critic": {"width": 24, "blocks": 1}}
_STREAM = {"width": 16, "time_input": False, "sparse_init": {"sparsity": 0.2}}
_DRQ = {"channels": 4, "feature_dim": 8, "actor": {"hidden": 16}, "critic": {"hidden": 16}}
PRESETS: dict[str, dict[str, Any]] = {
    "replay": {
        **_COMMON,
        "network": {"name": "simba", **_SIMBA},
        "loss": {"name": "sac", "critics": 2},
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1},
        "data": _REPLAY,
    },
    "streaming": {
        **_COMMON,
        "network": {"name": "stream_mlp", **_STREAM},
        "loss": {"name": "stream_ac"},
        "optimizer": {"name": "obgd"},
        "data": {"name": "stream"},
    },
    "pixels": {
        **_COMMON,
        "network": {"name": "drq_cnn", **_DRQ},
        "loss": {"name": "ddpg", "critics": 2},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "data": _REPLAY,
    },
}
"""A replay agent, a streaming agent, and one with an encoder."""
SPECS = {"replay": STATES, "streaming": STATES, "pixels": PIXELS}
HALVED = [{"name": "uniform", "sparsity": 0.5, "counted": "kernels"}]
"""A preset's masks, half of every kernel."""


def preset(name: str, **nodes: Any) -> dict[str, Any]:
    """The values of one of :data:`PRESETS`, some nodes replaced."""
    return copy.deepcopy({**PRESETS[name], **nodes})


def observations(spec: EnvironmentSpec, count: int, seed: int) -> torch.Tensor:
    """``[count, *observation]``, as an environment gives them, the same for the same seed."""
    draw = torch.Generator().manual_seed(seed)
    shape = (count, *spec.observation)
    if spec.pixels:
        return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
    return torch.randn(shape, generator=draw)


def transitions(spec: EnvironmentSpec, count: int, step: int, gamma: float = 0.99) -> TensorDict:
    """``[count]`` transitions, as a data source gives them, with the flags of episodes' ends.

    Those of ``step + 1`` go on where those of ``step`` led to.
    """
    draw = torch.Generator().manual_seed(derived_seed(step, "transitions"))
    if spec.discrete:
        action = torch.randint(0, spec.action, (count,), generator=draw)
    else:
        action = torch.rand(count, spec.action, generator=draw) * 2 - 1
    steps = torch.arange(step, step + count)[:, None] + 1
    done = steps % EPISODE == 0
    terminated = steps % (2 * EPISODE) == 0
    following = {
        "observation": observations(spec, count, step + 1),
        "reward": torch.randn(count, 1, generator=draw),
        "done": done,
        "terminated": terminated,
        "truncated": done & ~terminated,
        "discount": gamma * terminated.logical_not().float(),
    }
    root = {"observation": observations(spec, count, step), "action": action}
    return TensorDict({**root, "next": TensorDict(following, [count])}, [count])


@final
class _Held:
    """A data source that can be drawn from; what it gives is made up."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._spec = spec

    def __len__(self) -> int:
        return 10_000

    def sample(self, size: int, seed: int) -> TensorDictBase:
        """``[size]`` transitions by this seed."""
        return transitions(self._spec, size, seed % 1_000_000)


@final
class TinyRun:
    """A tiny agent and how far it has come. ``frames`` pass in steps of ``stride``."""

    def __init__(
        self,
        plugins: Plugins,
        values: Mapping[str, Any],
        spec: EnvironmentSpec,
        *,
        stride: int = 1,
        fuse: bool = True,
    ) -> None:
        """Wire it.

        Args:
            plugins: Where the components are looked up.
            values: A preset's values, such as :func:`preset` gives.
            spec: Of the environment that there is not.
            stride: Environment frames between updates.
            fuse: As in a run, one call for the whole update where the loss has one.

        Raises:
            UserError: the preset does not fit together.
        """
        self.config: RunConfig = resolve(Loaded(dict(values)), plugins)
        self.agent = build_agent(self.config, spec, CPU)
        if fuse:
            self.agent.learner.fuse()
        self.spec, self.stride = spec, stride
        self.streaming = "transitions in order" in self.config.data.component.provides
        self.mask_updates = MaskUpdates(self.agent.parts.schemes, self.config.run.seed)
        asked = self.mask_updates.batches
        self.recent = RecentTransitions(
            DiagnosticRunner({}, [], 0, not self.streaming, asked).recent, self.gamma
        )
        for step in range(-self.recent.size, 0):
            self._remember(step + 100_000)
        self.done = 0
        """Updates made."""

    @property
    def gamma(self) -> float:
        return float(self.agent.loss.returns.gamma)

    @property
    def frame(self) -> int:
        return self.done * self.stride

    @property
    def loss(self) -> Any:
        return self.agent.loss

    def batch(self, step: int) -> TensorDict:
        """What the update number ``step`` learns from."""
        count = self.config.count if self.streaming else BATCH
        return transitions(self.spec, count, step, self.gamma**self.loss.returns.n_step)

    def view(self) -> CurrentAgent:
        """The agent as mask schemes, diagnostics and interventions see it."""
        data: Any = object() if self.streaming else _Held(self.spec)
        return CurrentAgent(self.agent, data, self.recent, None, self.frame, SEED)  # type: ignore[arg-type]

    def advance(self, updates: int, batch: TensorDictBase | None = None) -> None:
        """Update so often, on the same ``batch`` if one is given.

        Each step seeds the global generators by its number, so that runs which stop and go on
        draw alike.
        """
        for _ in range(updates):
            seed_everything(derived_seed(SEED, f"step {self.done}"))
            learned = self.batch(self.done) if batch is None else batch
            self._collect(learned)
            self.done += 1
            due = self.mask_updates.due(self.frame)
            if due:
                list(self.mask_updates.change(due, self.view()))
            self.agent.learner.update(learned)

    def _collect(self, learned: TensorDictBase) -> None:
        """What a run does with the observations that it acts on."""
        observation = learned["observation"][: self.config.count]
        begins = torch.full((len(observation),), self.done % EPISODE == 0)
        self.loss.set_progress(self.done * self.config.count)
        self.loss.observe(observation, begins)
        self._remember(self.done)

    def _remember(self, step: int) -> None:
        if self.recent.size:
            self.recent.extend(transitions(self.spec, 1, step, self.gamma).unsqueeze(1))

    def state_dict(self) -> dict[str, Any]:
        """As in a checkpoint."""
        return {
            **agent_state(self.agent),
            "mask_updates": self.mask_updates.state_dict(),
            "recent": self.recent.state_dict(),
            "done": self.done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; an execution backend of another form takes it too."""
        restore_agent(self.agent, state)
        self.mask_updates.load_state_dict(state["mask_updates"])
        self.recent.load_state_dict(state["recent"])
        self.done = state["done"]


# --- weights ----------------------------------------------------------------------------


def weights(agent: Agent) -> dict[str, torch.Tensor]:
    """Copies of all parameters of the networks and their targets, in dense form."""
    return {
        f"{path}.{name}": dense(agent.loss.get_submodule(path), name).detach().clone()
        for path in prefixes(agent.loss, agent.parts.modules)
        for name, _ in agent.loss.get_submodule(path).named_parameters()
    }


def slots(module: nn.Module, name: str, optimizers: Sequence[Any]) -> dict[str, torch.Tensor]:
    """What optimizers remember of each entry of a parameter, in dense form."""
    parameter = module.get_parameter(name)
    return {
        key: dense(module, name, value)
        for optimizer in optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
        if getattr(value, "shape", ())[-parameter.dim() :] == parameter.shape
    }


def assert_removed_stay_zero(agent: Agent) -> None:
    """Of weights, of targets, and of what optimizers remember."""
    found = weights(agent)
    optimizers = list(agent.learner.optimizers.values())
    alive = []
    for path, role in prefixes(agent.loss, agent.parts.modules).items():
        for name, mask in agent.masks.masks.get(role, {}).items():
            memory = slots(agent.loss.get_submodule(path), name, optimizers)
            for key, value in {"": found[f"{path}.{name}"], **memory}.items():
                if bool(value[..., ~mask].any()):
                    alive.append(f"{path}.{name} {key}".rstrip())
    assert not alive, (
        f"something of a removed weight is not zero: {named(alive)}. Write weights with "
        "core.api.assign_dense and zero them by masks, in targets and in optimizers too"
    )


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    if one.shape != other.shape:
        return float("inf")
    scale = max(float(one.abs().max()), 1e-12) if one.numel() else 1.0
    return float((one - other).abs().max()) / scale if one.numel() else 0.0
