"""How the agent acts while it learns: the policy that TorchRL's collector calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from tensordict.nn import TensorDictModuleBase

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from core.api.environments import EnvironmentSpec
    from core.api.losses import Loss


@final
class Policy(TensorDictModuleBase):
    """Uniformly random at first, then the loss's exploring policy.

    The loss is shown every observation that is acted on, in the random phase too. Written on
    TensorDictModuleBase because TensorDictModule's output checks cost more than a small network.
    """

    def __init__(
        self,
        loss: Loss,
        spec: EnvironmentSpec,
        device: torch.device,
        random_steps: int,
    ) -> None:
        super().__init__()
        self.in_keys = ["observation", "is_init"]
        self.out_keys = ["action"]
        # Kept out of the module tree: the loss owns all parameters.
        self.__dict__["loss"] = loss
        self._environment = spec
        self.device = device
        self.random_steps = random_steps
        self.agent_steps = 0
        self.recording = False
        """Off while a collector is being built, which may call its policy to learn the keys."""

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        observation = tensordict.get("observation")
        if not self.recording:
            tensordict.set("action", self._blank(observation.shape[0]))
            return tensordict
        moved = observation.to(self.device, non_blocking=True)
        self.loss.observe(moved, tensordict.get("is_init")[:, 0])
        if self.agent_steps < self.random_steps:
            action = self._random(observation.shape[0])
        else:
            action = self.loss.act(moved, explore=True).to(observation.device)
        self.agent_steps += observation.shape[0]
        tensordict.set("action", action)
        return tensordict

    def _blank(self, count: int) -> Tensor:
        if self._environment.discrete:
            return torch.zeros(count, dtype=torch.int64)
        return torch.zeros(count, self._environment.action)

    def _random(self, count: int) -> Tensor:
        if self._environment.discrete:
            return torch.randint(self._environment.action, (count,))
        return torch.rand(count, self._environment.action) * 2 - 1


def deterministic_action(loss: Any, observation: Tensor, device: torch.device) -> Tensor:
    """The action of evaluation: no exploration, statistics frozen."""
    with torch.no_grad():
        action: Tensor = loss.act(observation.to(device), explore=False)
    return action.cpu()
