"""From a transition, as it happens, to what the objectives of streaming losses take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch

from core.api import AnalysisBatch, UserError
from plugins.losses import inputs
from plugins.losses.reward_scaling import RewardScaler

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from core.api import Batch, LossContext
    from plugins.losses.options import StreamOptions

IN_KEYS = [*inputs.IN_KEYS, ("next", "done")]


class Transition(NamedTuple):
    """One environment's step, normalised and scaled, on the host."""

    observation: Tensor
    """``[D]``, as is ``next_observation``."""
    next_observation: Tensor
    action: Tensor
    """``[1, A]``, or ``[1]`` when discrete."""
    reward: float
    discount: float
    ended: bool
    scale: Mapping[str, float]
    """``train/reward_scale``, where rewards are scaled."""


@final
class StreamInputs:
    """Running statistics, in the order in which the authors' wrappers update them.

    Every observation enters them once, before it is normalised: the first of an episode when
    it is acted on, every other when its transition is learned from. A transition's first
    observation is normalised by the statistics that acting used, its second by newer ones
    (Elsayed et al. 2024, code).
    """

    def __init__(
        self, options: StreamOptions, context: LossContext, networks: Sequence[str]
    ) -> None:
        """``networks``: the roles of those that take an observation alone.

        Raises:
            UserError: the networks share an encoder, which no single trace would cover.
        """
        self.normaliser: Any = context.parts.normaliser()
        if context.parts.encoder() is not None:
            raise UserError(
                "streaming losses need actor and critic to read observations themselves; this "
                "network gives them a shared encoder. Choose network stream_cnn or stream_mlp."
            )
        self.gamma, leak = options.gamma, options.reward_leak
        self.scaler: RewardScaler | None = None
        if options.scale_rewards:
            self.scaler = RewardScaler(context.count, self.gamma, leak, context.device)
        self.truncation_ends = options.truncation == "end"
        self._networks = networks
        self._memory: tuple[bytes, Tensor] | None = None

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """Fold in the rows ``[N, *observation]`` that begin an episode; ``begins`` on the host."""
        rows = [row for row, first in enumerate(begins.tolist()) if first]
        if len(rows) == observation.shape[0]:
            self._fold(observation)
        elif rows:
            self._fold(torch.stack([observation[row] for row in rows]))

    def normalised(self, observation: Tensor) -> Tensor:
        """What the networks take, by the statistics as they are."""
        return observation if self.normaliser is None else self.normaliser(observation)

    def single(self, observation: Tensor) -> Tensor:
        """:meth:`normalised` of one observation on a CPU, ``[1, D] -> [D]``.

        An observation is asked for three times (learned towards, acted on, learned from) while
        the statistics stand still, so the last answer is kept; until they move it is the same
        tensor.
        """
        if self.normaliser is None:
            return observation[0]
        raw = observation.numpy().tobytes()
        if self._memory is None or self._memory[0] != raw:
            self._memory = raw, self.normaliser(observation)[0]
        return self._memory[1]

    def forget(self) -> None:
        """The statistics have changed."""
        self._memory = None

    def _fold(self, observation: Tensor) -> None:
        if self.normaliser is not None:
            self.normaliser.update(observation)
        self.forget()

    @torch.no_grad()
    def prepare(self, batch: TensorDictBase) -> Batch:
        """One step of every environment, ``[N]``; flags, rewards and discounts as ``[N]``."""
        following = batch["next", "observation"]
        observation = self.normalised(batch["observation"])
        self._fold(following)
        prepared = self._prepared(batch, observation, self.normalised(following))
        if self.scaler is not None:
            scale = self.scaler.fold(prepared["reward"], prepared["ended"])
            prepared |= {"reward": prepared["reward"] / scale, "reward_scale": scale}
        return prepared

    @torch.no_grad()
    def analyse(self, batch: TensorDictBase) -> AnalysisBatch:
        """:meth:`prepare` of any transitions ``[B]``, by the statistics as they are."""
        raw, following = batch["observation"], batch["next", "observation"]
        observation = self.normalised(raw)
        prepared = self._prepared(batch, observation, self.normalised(following))
        if self.scaler is not None:
            reward = prepared["reward"]
            prepared["reward"] = (reward / self.scaler.divisor()).to(reward.dtype)
        return AnalysisBatch(raw, prepared, dict.fromkeys(self._networks, (observation,)))

    def _prepared(self, batch: TensorDictBase, observation: Tensor, following: Tensor) -> Batch:
        keys = ("reward", "discount", "done")
        reward, discount, ended = (batch["next", key].squeeze(1) for key in keys)
        if self.truncation_ends:
            discount = self.gamma * ended.logical_not().to(reward.dtype)
        return {
            "observation": observation,
            "next_observation": following,
            "action": batch["action"],
            "reward": reward,
            "discount": discount,
            "ended": ended,
        }

    def transition(self, batch: TensorDictBase) -> Transition:
        """:meth:`prepare` for one environment on a CPU."""
        now: dict[str, Any] = dict(batch.items())  # a get costs more than all of them at once
        after = dict(now["next"].items())
        reward, ended = after["reward"].item(), after["done"].item()
        discount = self.gamma * (not ended)
        if not self.truncation_ends:
            discount = after["discount"].item()
        scale = {}
        if self.scaler is not None:
            divisor = scale["train/reward_scale"] = self.scaler.fold_one(reward, ended)
            reward /= divisor
        observation = self.single(now["observation"])
        self._fold(after["observation"])
        following = self.single(after["observation"])
        return Transition(observation, following, now["action"], reward, discount, ended, scale)


def forget(loss: Any, incompatible: Any) -> None:
    """For a loss with ``StreamInputs``, after its state was loaded."""
    loss.stream.forget()
