"""From a sampled batch to what the objectives take, and from objectives to TorchRL's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict

from core.api import AnalysisBatch
from plugins.losses.augment import random_shift

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import Batch, Phase

IN_KEYS = [
    "observation",
    "action",
    ("next", "observation"),
    ("next", "reward"),
    ("next", "discount"),
]


def features(observation: Tensor, normaliser: Any, encoder: nn.Module | None) -> Tensor:
    """What actor and critic take: ``[B, *observation] -> [B, features]``."""
    if normaliser is not None:
        observation = normaliser(observation)
    return observation if encoder is None else encoder(observation)


def prepare(batch: TensorDictBase, normaliser: Any, encoder: nn.Module | None, shift: int) -> Batch:
    """Augment, normalise and encode a batch with the keys of ``core.api.DataSource``.

    ``features`` keeps its graph, for the critic to train the encoder through;
    ``next_features`` has none (DrQ-v2 has no target encoder).
    """
    now, then = batch["observation"], batch["next", "observation"]
    if shift:
        now, then = random_shift(now, shift), random_shift(then, shift)
    with torch.no_grad():
        next_features = features(then, normaliser, encoder)
    return {
        "features": features(now, normaliser, encoder),
        "next_features": next_features,
        "action": batch["action"],
        "reward": batch["next", "reward"],
        "discount": batch["next", "discount"],
    }


@torch.no_grad()
def examine(batch: TensorDictBase, normaliser: Any, encoder: nn.Module | None) -> AnalysisBatch:
    """:func:`prepare`, without graph or augmentation, and what each network is called with."""
    observation = batch["observation"]
    prepared = prepare(batch, normaliser, encoder, shift=0)
    seen = observation if normaliser is None else normaliser(observation)
    called: dict[str, tuple[Tensor, ...]] = {
        "actor": (prepared["features"],),
        "critic": (prepared["features"], prepared["action"]),
    }
    if encoder is not None:
        called["encoder"] = (seen,)
    return AnalysisBatch(observation, prepared, called)


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
