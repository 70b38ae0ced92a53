"""Tiny agents for tests: real networks and losses, wired as an experiment wires them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict

from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import (
    EnvironmentSpec,
    ExecutionContext,
    LossContext,
    NetworkContext,
    OptimizerContext,
)
from plugins.execution import register_execution
from plugins.losses import register_losses
from plugins.losses.options import DDPGOptions, NoiseOptions, SACOptions
from plugins.networks import register_networks
from plugins.networks.options import DrqHidden, DrqOptions, SimbaOptions, SimbaSize
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamWOptions

CPU = torch.device("cpu")
STATE = EnvironmentSpec((5,), 3)
PIXELS = EnvironmentSpec((9, 20, 20), 2, pixels=True, frame_stack=3)
SIMBA = SimbaOptions(actor=SimbaSize(8, 1), critic=SimbaSize(12, 1), normalise=False)
DRQ = DrqOptions(channels=4, feature_dim=5, actor=DrqHidden(8), critic=DrqHidden(8))
SIMBA_DDPG = DDPGOptions()
DRQ_DDPG = DDPGOptions(
    tau=0.01,
    critics=2,
    n_step=3,
    noise=NoiseOptions(1.0, 0.1, 500_000),
    noise_clip=0.3,
    clip="straight_through",
    order="critic_first",
    shift=4,
)


def four_agents(simba: SimbaOptions = SIMBA) -> dict[str, tuple[Any, Any, EnvironmentSpec]]:
    """Loss options, network options and spec of every kind of agent."""
    return {
        "sac": (SACOptions(critics=2), simba, STATE),
        "ddpg": (SIMBA_DDPG, simba, STATE),
        "drq": (DRQ_DDPG, DRQ, PIXELS),
        "pixel_sac": (SACOptions(shift=4), DRQ, PIXELS),
    }


_NAMES = {
    SACOptions: "sac",
    DDPGOptions: "ddpg",
    SimbaOptions: "simba",
    DrqOptions: "drq_cnn",
    AdamWOptions: "adamw",
}


def build(components: Any, options: Any, context: Any, name: str | None = None) -> Any:
    """The named (or the options' own) component of a ``register_KIND()``, built."""
    wanted = name or _NAMES[type(options)]
    (component,) = [c for c in components if c.name == wanted]
    return component.build(options, context)


def spec_of(network: Any) -> EnvironmentSpec:
    return PIXELS if isinstance(network, DrqOptions) else STATE


def make_execution() -> Any:
    (component,) = [c for c in register_execution() if c.name == "masked"]
    return component.build(component.options(), ExecutionContext(CPU))


def make_loss(options: Any, network: Any, schemes: Sequence[Any] = (), **wiring: Any) -> Any:
    """A loss on fresh networks; ``wiring`` may replace ``device``, ``parts``, ``execution``."""
    spec, device = spec_of(network), wiring.get("device", CPU)
    networks = build(register_networks(), network, NetworkContext(spec))
    execution = wiring.get("execution") or make_execution()
    parts = wiring.get("parts") or MaskedNetworks(networks, MaskSet(1), schemes, execution, device)
    return build(register_losses(), options, LossContext(spec, parts, device))


def make_learner(
    options: Any,
    network: Any,
    schemes: Sequence[Any] = (),
    optimizer: Any = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Learner:
    """A learner on the CPU; the same seed gives the same weights. Masks need float32."""
    torch.manual_seed(seed)
    execution = make_execution()
    loss = make_loss(options, network, schemes, execution=execution).to(dtype)
    make = build(register_optimizers(), optimizer or AdamWOptions(), OptimizerContext(CPU))
    return Learner(loss, make, execution, CPU)


def make_batch(spec: EnvironmentSpec, size: int = 8, seed: int = 0) -> TensorDict:
    """A random batch in the form of a data source's; one return in four was terminated."""
    draw = torch.Generator().manual_seed(seed)

    def observation() -> torch.Tensor:
        shape = (size, *spec.observation)
        if spec.pixels:
            return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
        return torch.randn(shape, generator=draw)

    discount = torch.full((size, 1), 0.97)
    discount[::4] = 0
    following = {
        "observation": observation(),
        "reward": torch.randn(size, 1, generator=draw),
        "discount": discount,
    }
    action = torch.rand(size, spec.action, generator=draw) * 2 - 1
    return TensorDict({"observation": observation(), "action": action, "next": following}, [size])
