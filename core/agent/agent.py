"""What learns: networks, masks, loss and optimizers, from a checked preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.agent.randomness import seed_everything
from core.api.errors import UserError
from core.api.execution import ExecutionContext
from core.api.losses import LossContext
from core.api.masks import MaskContext
from core.api.networks import NetworkContext
from core.api.optimizers import OptimizerContext
from core.config import RunConfig

if TYPE_CHECKING:
    from core.api.environments import EnvironmentSpec
    from core.api.execution import Execution


@dataclass
class Agent:
    """What learns: networks, masks, loss and optimizers. Needs no environment to be made."""

    spec: EnvironmentSpec
    parts: MaskedNetworks
    masks: MaskSet
    learner: Learner
    device: torch.device

    @property
    def loss(self) -> Any:
        return self.learner.loss


def choose_device(wanted: str) -> torch.device:
    """The learner's device.

    Raises:
        UserError: CUDA is asked for by name and is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device: no CUDA device is available; use device=cpu or device=auto")
    return device


def batch_size(config: RunConfig) -> int:
    """Transitions in a batch (:class:`core.api.DataSource`)."""
    return int(getattr(config.data.options, "batch_size", config.count))


def build_execution(
    config: RunConfig, device: torch.device, chosen: Mapping[str, Any] | None = None
) -> Execution:
    """The preset's backend; ``chosen`` is :attr:`core.api.ExecutionContext.chosen`."""
    context = ExecutionContext(device, batch_size(config), chosen or {})
    execution: Execution = config.execution.build(context)
    return execution


def build_agent(
    config: RunConfig,
    spec: EnvironmentSpec,
    device: torch.device,
    chosen: Mapping[str, Any] | None = None,
    execution: Execution | None = None,
) -> Agent:
    """Networks, masks, loss, optimizers, in this order; seeds the global generators first.

    ``chosen`` is :attr:`core.api.ExecutionContext.chosen`; ``execution`` stands in for the
    preset's backend.
    """
    seed_everything(config.run.seed)
    networks = config.network.build(NetworkContext(spec))
    execution = execution or build_execution(config, device, chosen)
    schemes = [selection.build(MaskContext(config.run.frames)) for selection in config.masks]
    masks = MaskSet(config.run.mask_seed)
    parts = MaskedNetworks(networks, masks, schemes, execution, device)
    loss = config.loss.build(LossContext(spec, parts, device, config.count))
    parts.check_targets()
    make = config.optimizer.build(OptimizerContext(device))
    learner = Learner(loss.to(device), make, execution, device)
    return Agent(spec, parts, masks, learner, device)
