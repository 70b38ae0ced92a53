"""Agents of every kind for tests of interventions, with masks, and how they learn."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from core.agent.agent import Agent
from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import (
    DiagnosticContext,
    EnvironmentSpec,
    LossContext,
    NetworkContext,
    OptimizerContext,
)
from core.training.agent_view import CurrentAgent
from plugins.interventions import register_interventions
from plugins.losses import register_losses
from plugins.losses.options import DDPGOptions, SACOptions, StreamACOptions, StreamQOptions
from plugins.networks import register_networks
from plugins.networks.options import (
    MlpHidden,
    MlpOptions,
    SimbaOptions,
    SimbaSize,
    SparseInit,
    StreamCnnOptions,
    StreamMlpOptions,
)
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamWOptions, AdaptiveObGDOptions, ObGDOptions
from tests.support.agents import (
    CPU,
    DRQ,
    DRQ_DDPG,
    PIXELS,
    STATE,
    build,
    make_batch,
    make_execution,
)
from tests.support.views import make_view

torch.set_num_threads(1)
SIMBA = SimbaOptions(actor=SimbaSize(8, 1), critic=SimbaSize(12, 2))
MLP = MlpOptions(MlpHidden((10, 8)), MlpHidden((12, 6)), layer_norm=False)
STREAM_MLP = StreamMlpOptions(width=16, sparse_init=SparseInit(sparsity=0.3))
STREAM_CNN = StreamCnnOptions((4, 6), (5, 3), (3, 1), 10, sparse_init=SparseInit(sparsity=0.3))
STREAM = EnvironmentSpec((5,), 3, time_input=True)
CHOICES = EnvironmentSpec((5,), 4, discrete=True, time_input=True)

Recipe = tuple[str, Any, str, Any, EnvironmentSpec, str, Any]
"""Names and options of loss, network and optimizer; between the last two the environment."""
KINDS: dict[str, Recipe] = {
    "sac": ("sac", SACOptions(critics=2), "simba", SIMBA, STATE, "adamw", AdamWOptions()),
    "mlp": ("sac", SACOptions(critics=2), "mlp", MLP, STATE, "adamw", AdamWOptions()),
    "ddpg": ("ddpg", DDPGOptions(), "simba", SIMBA, STATE, "adamw", AdamWOptions()),
    "drq": ("ddpg", DRQ_DDPG, "drq_cnn", DRQ, PIXELS, "adamw", AdamWOptions()),
    "obgd": (
        "stream_ac",
        StreamACOptions(),
        "stream_mlp",
        STREAM_MLP,
        STREAM,
        "obgd",
        ObGDOptions(),
    ),
    "adaptive": (
        *("stream_ac", StreamACOptions(), "stream_mlp", STREAM_MLP, STREAM),
        *("adaptive_obgd", AdaptiveObGDOptions()),
    ),
    "q": (
        "stream_q",
        StreamQOptions(exploratory_cut="never"),
        "stream_mlp",
        STREAM_MLP,
        CHOICES,
        "obgd",
        ObGDOptions(),
    ),
    "cnn": (
        "stream_ac",
        StreamACOptions(),
        "stream_cnn",
        STREAM_CNN,
        PIXELS,
        "obgd",
        ObGDOptions(),
    ),
}


class HalfOfEach:
    """Half of every matrix and convolution, of all networks."""

    target = "all"

    def draw(self, parameters: Any, generator: torch.Generator) -> dict[str, Tensor]:
        return {
            name: torch.rand(p.shape, generator=generator) < 0.5
            for name, p in parameters.items()
            if p.ndim >= 2
        }


def make_agent(
    kind: str | Recipe,
    *,
    masked: bool = True,
    fuse: bool = False,
    seed: int = 0,
    execution: Any = None,
    scheme: Any = None,
    count: int = 1,
) -> Agent:
    """An agent as an experiment wires it; ``execution`` is ``masked`` unless given."""
    recipe = KINDS[kind] if isinstance(kind, str) else kind
    loss_name, loss_options, network_name, network_options, spec, name, options = recipe
    torch.manual_seed(seed)
    context = NetworkContext(spec)
    networks = build(register_networks(), network_options, context, network_name)
    execution, masks = execution or make_execution(), MaskSet(1)
    schemes = [scheme or HalfOfEach()] if masked else []
    parts = MaskedNetworks(networks, masks, schemes, execution, CPU)
    loss = build(register_losses(), loss_options, LossContext(spec, parts, CPU, count), loss_name)
    make = build(register_optimizers(), options, OptimizerContext(CPU), name)
    learner = Learner(loss, make, execution, CPU)
    if fuse:
        learner.fuse()
    return Agent(spec, parts, masks, learner, CPU)


def intervention(agent: Agent, name: str, options: Any) -> Any:
    modules = agent.parts.modules
    context = DiagnosticContext(agent.spec, agent.loss, modules, agent.loss.returns.gamma)
    return build(register_interventions(), options, context, name)


def transitions(spec: EnvironmentSpec, size: int = 16, seed: int = 0) -> TensorDict:
    """Random ones, with all keys that a data source may give."""
    batch = make_batch(spec, size, seed)
    if spec.discrete:
        draw = torch.Generator().manual_seed(seed)
        batch["action"] = torch.randint(spec.action, (size,), generator=draw)
    if size == 1:
        batch["next", "discount"] += 0.97  # not an end, so that traces are not empty
    ended = batch["next", "discount"] == 0
    batch["next", "terminated"], batch["next", "done"] = ended, ended.clone()
    return batch


def train(agent: Agent, updates: int, seed: int = 0, count: int = 1) -> None:
    """Learn from random transitions; the same for the same seed."""
    torch.manual_seed(seed)
    size = 16 if agent.loss.targets else count
    for update in range(updates):
        batch = transitions(agent.spec, size, 100 * seed + update)
        agent.loss.observe(batch["observation"], torch.zeros(size, dtype=torch.bool))
        agent.learner.update(batch)


def view(agent: Agent, size: int = 64) -> CurrentAgent:
    return make_view(agent, transitions(agent.spec, size, seed=9))


def intervene(agent: Agent, step: Any, seed: int = 5) -> dict[str, float]:
    """As core does: between updates, with generators of its own."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    report = dict(step.intervene(view(agent)))
    torch.set_rng_state(state)
    return report


def fresh(agent: Agent, *roles: str, seed: int = 5) -> dict[str, dict[str, Tensor]]:
    """The parameters that an intervention draws with this seed, roles in this order."""
    torch.manual_seed(seed)
    return {role: weights(agent.parts.fresh(role)) for role in roles}


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def everything(agent: Agent) -> dict[str, Tensor]:
    """Copies of all tensors of the loss, and of what optimizers remember."""
    found = {f"loss.{k}": v.clone() for k, v in agent.loss.state_dict().items()}
    for step in agent.learner.steps:
        if step.optimizer is not None:
            named = {id(p): n for n, p in agent.loss.named_parameters()}
            for parameter, state in step.optimizer.state.items():
                for key, value in state.items():
                    found[f"{key}.{named[id(parameter)]}"] = value.clone()
    return found


def role_of(name: str) -> str:
    """The network that an entry of :func:`everything` belongs to, targets included."""
    return name.split(".")[1].removeprefix("target_")


def pointers(agent: Agent) -> dict[str, int]:
    found = {k: v.data_ptr() for k, v in agent.loss.state_dict().items()}
    for step in agent.learner.steps:
        if step.optimizer is not None:
            for index, state in enumerate(step.optimizer.state.values()):
                for key, value in state.items():
                    found[f"{step.phase.name}.{index}.{key}"] = value.data_ptr()
    return found


def assert_masked(agent: Agent) -> None:
    """Removed weights are exactly zero, in networks and targets."""
    assert agent.masks.masks
    for role, masks in agent.masks.masks.items():
        for module in (agent.parts.modules[role], agent.loss.targets.get(role)):
            if module is not None:
                for name, mask in masks.items():
                    removed = dict(module.named_parameters())[name][~mask]
                    assert removed.numel()
                    assert not removed.any(), (role, name)
