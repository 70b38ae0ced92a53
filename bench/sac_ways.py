"""A SAC update by hand in plain PyTorch, and by TorchRL's own loss."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate, ValueEstimators

Masking = Literal["none", "gradients", "weights"]
Update = Callable[[TensorDict], None]


class ByHand:
    """The same update on copies of the same networks, with nothing around it."""

    def __init__(self, loss: Any, masking: Masking) -> None:
        self.normaliser = deepcopy(loss.normaliser)
        self.actor, self.critic = deepcopy(loss.actor), deepcopy(loss.critic)
        self.target = deepcopy(loss.target_critic)
        self.log_alpha = nn.Parameter(loss.temperature.log_alpha.detach().clone())
        self.masking = masking
        self.optimizers = {
            name: torch.optim.AdamW(list(module.parameters()), lr=1e-4, fused=True)
            for name, module in (("actor", self.actor), ("critic", self.critic))
        }
        self.move_alpha = torch.optim.AdamW([self.log_alpha], 1e-4, weight_decay=0.0, fused=True)
        self.kernels = {
            name: [p for p in module.parameters() if p.ndim > 1]
            for name, module in (("actor", self.actor), ("critic", self.critic))
        }
        self.masks = {
            name: [(p.detach() != 0).float() for p in kernels]
            for name, kernels in self.kernels.items()
        }

    def sample(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(observation)
        log_std = -10 + 6 * (1 + torch.tanh(raw))
        noise = torch.randn_like(mean)
        u = mean + log_std.exp() * noise
        log_prob = -0.5 * noise.square() - log_std - 0.9189385332046727
        log_prob = log_prob - 2 * (0.6931471805599453 - u - F.softplus(-2 * u))
        return torch.tanh(u), log_prob.sum(-1, keepdim=True)

    def step(self, name: Literal["actor", "critic"], objective: Tensor) -> None:
        optimizer, kernels = self.optimizers[name], self.kernels[name]
        optimizer.zero_grad()
        objective.backward(inputs=list(getattr(self, name).parameters()))
        if self.masking == "gradients":
            torch._foreach_mul_([p.grad for p in kernels], self.masks[name])
        optimizer.step()
        if self.masking == "weights":
            with torch.no_grad():
                torch._foreach_mul_(kernels, self.masks[name])

    def __call__(self, batch: TensorDict) -> None:
        observation = self.normaliser(batch["observation"])
        following = self.normaliser(batch["next", "observation"])
        action, log_prob = self.sample(observation)
        alpha = self.log_alpha.exp().detach()
        self.step("actor", (alpha * log_prob - self.critic(observation, action)[0]).mean())
        self.move_alpha.zero_grad()
        (self.log_alpha.exp() * (0.5 * action.shape[1] - log_prob.detach().mean())).backward()
        self.move_alpha.step()
        with torch.no_grad():
            action, log_prob = self.sample(following)
            value = self.target(following, action)[0] - self.log_alpha.exp() * log_prob
            target = batch["next", "reward"] + batch["next", "discount"] * value
        self.step("critic", F.mse_loss(self.critic(observation, batch["action"])[0], target))
        with torch.no_grad():
            online = list(self.critic.parameters())
            torch._foreach_lerp_(list(self.target.parameters()), online, 0.005)


class Parameters(nn.Module):
    """An actor as TorchRL's ``TanhNormal`` wants it: mean and standard deviation."""

    def __init__(self, actor: nn.Module) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(observation)
        return mean, (-10 + 6 * (1 + torch.tanh(raw))).exp()


class Value(nn.Module):
    """One critic on normalised observations."""

    def __init__(self, critic: nn.Module, normaliser: nn.Module) -> None:
        super().__init__()
        self.critic, self.normaliser = critic, normaliser

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.critic(self.normaliser(observation), action)[0]
        return value


def by_torchrl(loss: Any, actions: int) -> Update:
    """TorchRL's loss on copies of the same networks."""
    ours: Any = deepcopy(loss)
    actor = nn.Sequential(ours.normaliser, ours.actor)
    return torchrl_sac(actor, [Value(ours.critic, ours.normaliser)], actions, vmap=False)


def torchrl_sac(actor: nn.Module, critics: list[Any], actions: int, *, vmap: bool) -> Update:
    """A step of TorchRL's loss as its documentation uses it: one backward, one optimizer.

    The critics come as a list: of one module TorchRL would make several and draw every weight
    anew, kept or not. TorchRL holds on to the first alone, and to copies of all parameters.
    """
    policy = ProbabilisticActor(
        TensorDictModule(Parameters(actor), ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
    )
    values = [ValueOperator(critic, ["observation", "action"]) for critic in critics]
    stock: Any = SACLoss(
        policy,
        values,
        num_qvalue_nets=len(values),
        loss_function="l2",
        alpha_init=0.01,
        target_entropy=-0.5 * actions,
        deactivate_vmap=not vmap,
    )
    stock.make_value_estimator(ValueEstimators.TD0, gamma=0.99)
    average = SoftUpdate(stock, tau=0.005)
    optimizer = torch.optim.AdamW(list(stock.parameters()), lr=1e-4, fused=True)

    def update(batch: TensorDict, modules: Any = values) -> None:  # structures live as they do
        found = stock(batch)
        (found["loss_actor"] + found["loss_qvalue"] + found["loss_alpha"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.step()

    return update
