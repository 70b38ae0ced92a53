"""Bias of the critics: predicted values against the returns that follow."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor

from core.api import Soft
from plugins.diagnostics import rollouts

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import QBiasOptions

TOGETHER = 256
"""Transitions that pass through the networks at once."""


def discounted_returns(reward: Tensor, discount: Tensor, bonus: Tensor | None = None) -> Tensor:
    """``G_t = r_t + d_t (b_{t+1} + G_{t+1})`` along one episode, ``[T]`` each: float64 ``[T]``.

    ``discount`` is 0 where the episode terminates; ``bonus`` ``b_t`` is what the state of step
    ``t`` adds to its own reward (of maximum entropy methods: Haarnoja et al. 2018, equation 3),
    which a value of state and action does not hold. Nothing is known after the last step: its
    return is its reward (see :func:`remainder`).
    """
    rewards, discounts = reward.tolist(), discount.tolist()
    bonuses = [0.0] * len(rewards) if bonus is None else bonus.tolist()
    returns, later = [0.0] * len(rewards), 0.0
    for t in reversed(range(len(rewards))):
        returns[t] = rewards[t] + discounts[t] * later
        later = bonuses[t] + returns[t]
    return torch.tensor(returns, dtype=torch.float64, device=reward.device)


def remainder(discount: Tensor) -> Tensor:
    """``[T] -> [T]``, float64: how much a value after the last step weighs in each return."""
    return discount.double().flip(0).cumprod(0).flip(0)


def q_bias(predicted: Tensor, returns: Tensor) -> dict[str, Tensor]:
    """Bias ``predicted - returns`` of ``[B]`` each (Chen et al. 2021, REDQ, section 3).

    Its ``mean``, its ``std`` over the states, the mean ``relative`` to the magnitude of the mean
    return (NaN where that is 0), and the means themselves, ``predicted`` and ``return``.
    """
    predicted, returns = predicted.double(), returns.double()
    bias, scale = predicted - returns, returns.mean()
    nothing = torch.full_like(scale, torch.nan)
    return {
        "mean": bias.mean(),
        "std": bias.std(correction=0),
        "relative": torch.where(scale == 0, nothing, bias.mean() / scale.abs()),
        "predicted": predicted.mean(),
        "return": scale,
    }


class Told(NamedTuple):
    """An episode as the loss sees it, ``[T]`` each."""

    predicted: Tensor
    reward: Tensor
    discount: Tensor
    bonus: Tensor


@final
class QBias:
    """See :class:`plugins.diagnostics.options.QBiasOptions`."""

    batch = None

    def __init__(self, options: QBiasOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self._options = options
        self._gamma = context.gamma
        self._explore = options.policy == "exploring"
        if options.policy == "learned":
            self._explore = not context.spec.discrete or isinstance(context.loss, Soft)

    def measure(self, view: AgentView) -> Measurements:
        """``states`` that count, and, where there is one, what :func:`q_bias` gives for them."""
        o = self._options
        played = rollouts.episodes(
            view, o.episodes, limit=o.steps, explore=self._explore, gamma=self._gamma
        )
        predicted, returns = [], []
        with closing(played):
            for episode in played:
                told = self._told(view, episode.to(view.device))
                counts = remainder(told.discount) <= o.tail
                predicted.append(told.predicted[counts])
                returns.append(discounted_returns(told.reward, told.discount, told.bonus)[counts])
        values = torch.cat(predicted)
        measured = {"states": values.new_tensor(len(values))}
        return measured | (q_bias(values, torch.cat(returns)) if len(values) else {})

    @torch.no_grad()
    def _told(self, view: AgentView, episode: TensorDictBase) -> Told:
        parts = []
        for part in episode.split(TOGETHER):
            batch = view.loss.analyse(part).batch
            values = view.loss.predict(batch)
            predicted = values.mean(0) if self._options.critics == "mean" else values.amin(0)
            soft = isinstance(view.loss, Soft)
            bonus = view.loss.bonus(batch) if soft else torch.zeros_like(predicted)
            told = (predicted, batch["reward"], batch["discount"], bonus)
            parts.append([column.flatten() for column in told])
        return Told(*map(torch.cat, zip(*parts, strict=True)))
