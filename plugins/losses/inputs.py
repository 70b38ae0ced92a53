"""From a sampled batch to what the objectives take, and from objectives to TorchRL's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import torch
from tensordict import TensorDict

from core.api import AnalysisBatch, UserError
from plugins.losses.augment import random_shift

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import Batch, LossContext, Phase

IN_KEYS = [
    "observation",
    "action",
    ("next", "observation"),
    ("next", "reward"),
    ("next", "discount"),
]


@final
class BatchInputs:
    """What actor and critic make of a sampled batch: augmented, normalised, encoded."""

    def __init__(self, loss: str, shift: int, context: LossContext) -> None:
        """``loss`` is its name, ``shift`` that of its options.

        Raises:
            UserError: frames are to be shifted, but observations are not pixels.
        """
        if shift and not context.spec.pixels:
            raise UserError(
                f"loss '{loss}': shift is {shift}, but observations are not pixels. "
                "Set loss.shift: 0 or environment.pixels: true."
            )
        self.normaliser = context.parts.normaliser()
        self.encoder = context.parts.encoder()

    def observe(self, observation: Tensor) -> None:
        """Every observation acted on enters the statistics."""
        if self.normaliser is not None:
            self.normaliser.update(observation)

    def normalised(self, observation: Tensor) -> Tensor:
        """By the statistics as they are."""
        return observation if self.normaliser is None else self.normaliser(observation)

    def features(self, observation: Tensor) -> Tensor:
        """What actor and critic take: ``[B, *observation] -> [B, features]``."""
        observation = self.normalised(observation)
        return observation if self.encoder is None else self.encoder(observation)

    def trained_with(self, critic: nn.Module) -> tuple[nn.Module, ...]:
        """The critic and the encoder, if there is one: the critic alone trains it."""
        return (critic,) if self.encoder is None else (self.encoder, critic)

    def prepare(self, batch: TensorDictBase, shift: int = 0) -> Batch:
        """Of a batch with the keys of :class:`core.api.DataSource`.

        ``features`` keeps its graph, for the critic to train the encoder through;
        ``next_features`` has none (DrQ-v2 has no target encoder).
        """
        now, then = batch["observation"], batch["next", "observation"]
        if shift:
            now, then = random_shift(now, shift), random_shift(then, shift)
        with torch.no_grad():
            next_features = self.features(then)
        return {
            "features": self.features(now),
            "next_features": next_features,
            "action": batch["action"],
            "reward": batch["next", "reward"],
            "discount": batch["next", "discount"],
        }

    @torch.no_grad()
    def analyse(self, batch: TensorDictBase) -> AnalysisBatch:
        """:meth:`prepare`, without graph or augmentation, and what each network is called with."""
        observation = batch["observation"]
        prepared = self.prepare(batch)
        called: dict[str, tuple[Tensor, ...]] = {
            "actor": (prepared["features"],),
            "critic": (prepared["features"], prepared["action"]),
        }
        if self.encoder is not None:
            called["encoder"] = (self.normalised(observation),)
        return AnalysisBatch(observation, prepared, called)


def check_actions(loss: str, context: LossContext, *, discrete: bool = False) -> None:
    """Raise :class:`UserError` if the environment's actions are not what a loss needs."""
    if context.spec.discrete != discrete:
        kinds = ("discrete", "continuous") if discrete else ("continuous", "discrete")
        raise UserError(
            f"loss '{loss}' needs {kinds[0]} actions; this environment's are {kinds[1]}. "
            "Choose another environment or loss."
        )


def joint_losses(loss: nn.Module, phases: Sequence[Phase], batch: Batch) -> TensorDict:
    """Every phase's objective (or the mean of its rows') at the present weights, ``loss_PHASE``.

    Each keeps a graph to its own phase's parameters only, so that their sum can be
    differentiated at once.
    """
    losses = {}
    for phase in phases:
        if phase.modules:
            with _only_trainable(loss, phase.modules):
                objective, _ = phase.run(batch)
                assert objective is not None
                losses[f"loss_{phase.name}"] = objective.mean()
    return TensorDict(losses)


@contextmanager
def _only_trainable(loss: nn.Module, modules: Sequence[nn.Module]) -> Iterator[None]:
    kept = {id(p) for module in modules for p in module.parameters()}
    frozen = [p for p in loss.parameters() if p.requires_grad and id(p) not in kept]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
