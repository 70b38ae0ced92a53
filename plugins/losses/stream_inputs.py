"""From a transition, as it happens, to what the objectives of streaming losses take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, final

import torch

from core.api import AnalysisBatch, UserError
from plugins.losses import inputs
from plugins.losses.reward_scaling import RewardScaler

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import Batch, LossContext, Metrics, OnlineNetwork, Scalars
    from plugins.losses import StreamACOptions, StreamQOptions

Real = TypeVar("Real", float, "Tensor")

IN_KEYS = [*inputs.IN_KEYS, ("next", "done")]


def td_error(reward: Real, discount: Real, value: Real, next_value: Real) -> Real:
    """``delta = r + D V(s') - V(s)``; ``discount`` is 0 where there is nothing to bootstrap."""
    return reward + discount * next_value - value


def cut_trace(form: str, ended: Any, exploratory: Any) -> dict[str, Any]:
    """When the trace is emptied, for flags or tensors of flags: see ``exploratory_cut``."""
    match form:
        case "after":
            return {"reset": ended | exploratory}
        case "before":
            return {"reset": ended, "cut": exploratory}
        case _:
            return {"reset": ended}


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
class Inputs:
    """Running statistics, in the order in which the authors' wrappers update them.

    Every observation enters them once, before it is normalised: the first of an episode when
    it is acted on, every other when its transition is learned from. A transition's first
    observation is normalised by the statistics that acting used, its second by newer ones
    (Elsayed et al. 2024, code).
    """

    def __init__(
        self, normaliser: Any, scaler: RewardScaler | None, gamma: float, truncation_ends: bool
    ) -> None:
        self.normaliser = normaliser
        self.scaler = scaler
        self.gamma = gamma
        self.truncation_ends = truncation_ends
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

    def row(self, observation: Tensor) -> Tensor:
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
        reward, ended = batch["next", "reward"].squeeze(1), batch["next", "done"].squeeze(1)
        observation, following = batch["observation"], batch["next", "observation"]
        observation = self.normalised(observation)
        self._fold(following)
        prepared = {
            "observation": observation,
            "next_observation": self.normalised(following),
            "action": batch["action"],
            "reward": reward,
            "discount": batch["next", "discount"].squeeze(1),
            "ended": ended,
        }
        if self.truncation_ends:
            prepared["discount"] = self.gamma * ended.logical_not().to(reward.dtype)
        if self.scaler is not None:
            prepared["reward_scale"] = self.scaler.fold(reward, ended)
            prepared["reward"] = reward / prepared["reward_scale"]
        return prepared

    @torch.no_grad()
    def examine(self, batch: TensorDictBase, networks: Sequence[str]) -> AnalysisBatch:
        """:meth:`prepare` of any transitions ``[B]``, by the statistics as they are."""
        now, after = batch["observation"], batch["next"]
        reward, discount = after["reward"].squeeze(1), after["discount"].squeeze(1)
        ended = after["done"].squeeze(1)
        if self.truncation_ends:
            discount = self.gamma * ended.logical_not().to(reward.dtype)
        prepared = {
            "observation": self.normalised(now),
            "next_observation": self.normalised(after["observation"]),
            "action": batch["action"],
            "reward": reward,
            "discount": discount,
            "ended": ended,
        }
        if self.scaler is not None:
            prepared["reward"] = (reward / self.scaler.divisor()).to(reward.dtype)
        called = dict.fromkeys(networks, (prepared["observation"],))
        return AnalysisBatch(now, prepared, called)

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
        observation = self.row(now["observation"])
        self._fold(after["observation"])
        following = self.row(after["observation"])
        return Transition(observation, following, now["action"], reward, discount, ended, scale)


def make_inputs(options: StreamACOptions | StreamQOptions, context: LossContext) -> Inputs:
    """The normaliser of the agent's networks, and the scaler of its rewards.

    Raises:
        UserError: the networks share an encoder, which no single trace would cover.
    """
    normaliser = context.parts.normaliser()
    if context.parts.encoder() is not None:
        raise UserError(
            "streaming losses need actor and critic to read observations themselves; this "
            "network gives them a shared encoder. Choose network stream_cnn or stream_mlp."
        )
    scaler = None
    if options.scale_rewards:
        scaler = RewardScaler(context.count, options.gamma, options.reward_leak, context.device)
    return Inputs(normaliser, scaler, options.gamma, options.truncation == "end")


def forget(loss: Any, incompatible: Any) -> None:
    """For a loss with ``Inputs``, after its state was loaded."""
    loss.stream.forget()


def td_metrics(batch: Batch, value: Tensor, name: str) -> Metrics:
    """Logged at every update; ``train/td_error`` is the mean of ``|delta|``.

    It stands first, so that it is what is named if a number is not finite.
    """
    metrics = {"train/td_error": batch["td_error"].abs().mean(), name: value.mean()}
    if "reward_scale" in batch:
        metrics["train/reward_scale"] = batch["reward_scale"]
    return metrics


def overshoot(batch: Batch, after: Tensor) -> Metrics:
    """The share of environments whose TD error changed its sign by the update."""
    flipped = batch["td_error"] * after < 0
    return {"train/overshoot": flipped.float().mean()}


class RowOptimizer(Protocol):
    """What a fused update needs of an optimizer."""

    def row_step(
        self,
        network: OnlineNetwork,
        gradient: Tensor,
        delta: float,
        *,
        reset: bool = False,
        cut: bool = False,
    ) -> Mapping[str, float]:
        """One step by ``gradient`` ``[outputs]`` of the last forward; the report."""


def named(report: Mapping[str, float], phase: str) -> Scalars:
    """A report under the names that the learner gives it."""
    return {f"{name}/{phase}": value for name, value in report.items()}


def rows(
    modules: Sequence[nn.Module],
    row: Callable[[nn.Module], OnlineNetwork | None],
    optimizers: Mapping[str, Any],
    count: int,
) -> list[OnlineNetwork] | None:
    """The modules' kernels, or None unless a fused update can have all that it needs."""
    if count != 1 or not all(hasattr(o, "row_step") for o in optimizers.values()):
        return None
    found = [network for network in map(row, modules) if network is not None]
    return found if len(found) == len(modules) else None
