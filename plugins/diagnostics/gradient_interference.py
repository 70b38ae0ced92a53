"""How the gradients of single samples agree and collide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from core.api import AnalysisBatch, objectives
from plugins.diagnostics.parameters import dense_masks, require_trained, trainable
from plugins.diagnostics.per_sample import MEMORY, gradient_products

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import AgentView, Batch, DiagnosticContext, Measurements, Trained
    from plugins.diagnostics.options import GradientInterferenceOptions
    from plugins.diagnostics.per_sample import Objective

EPSILON = 1e-8
"""Of the published code."""
INPUT = "input of the encoder, "


def gradient_interference(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    *,
    epsilon: float = EPSILON,
    memory: int = MEMORY,
) -> Tensor:
    """``[B, B]``, float64: cosine similarities of the samples' gradients, over living weights.

    Ma et al. 2025, equation 2; Lyle et al. 2023. Arguments as in
    :func:`plugins.diagnostics.per_sample.gradient_products`.
    """
    return cosine_similarities(
        gradient_products(objective, parameters, batch, masks, memory), epsilon
    )


def cosine_similarities(products: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Inner products ``[k, k]`` of ``k`` vectors to ``<a, b> / (|a| |b| + epsilon)``.

    A vector of zeros has similarity 0 to all, itself included.
    """
    norms = products.diagonal().sqrt()
    lengths = norms.outer(norms)
    return torch.where(lengths > 0, products / (lengths + epsilon), 0.0)


def pairs(similarities: Tensor) -> dict[str, Tensor]:
    """Of the entries of ``[k, k]`` off the diagonal: mean magnitude, share below zero."""
    k = similarities.shape[0]
    other = similarities[~torch.eye(k, dtype=torch.bool, device=similarities.device)]
    return {"mean_abs": other.abs().mean(), "negative": (other < 0).double().mean()}


@final
class GradientInterference:
    """See :class:`plugins.diagnostics.options.GradientInterferenceOptions`."""

    def __init__(self, options: GradientInterferenceOptions, context: DiagnosticContext) -> None:
        require_trained("gradient_interference", context)
        self.options = options
        self.every = options.every
        self.batch = options.batch

    def measure(self, view: AgentView) -> Measurements:
        """``PHASE`` (the matrix), ``PHASE/mean_abs`` and ``PHASE/negative``."""
        analysed = _last(view.batch(self.batch), self.options.samples)
        with torch.no_grad():
            trained = list(objectives(view.loss.phases, view.networks, analysed))
        masks, options = dense_masks(view.networks, view.masks), self.options
        measured: dict[str, Tensor] = {}
        for step in trained:
            similarities = gradient_interference(
                _objective(step),
                trainable(step.networks),
                _samples(step, analysed),
                masks,
                epsilon=options.epsilon,
                memory=options.memory_mb * 1_000_000,
            )
            name = step.phase.name
            measured[name] = similarities
            measured |= {f"{name}/{of}": value for of, value in pairs(similarities).items()}
        return measured


def _last(analysed: AnalysisBatch, count: int) -> AnalysisBatch:
    """The last samples: of ``recent`` the newest, of ``replay`` as good as any."""
    return AnalysisBatch(
        analysed.observation[-count:],
        {key: entry[-count:] for key, entry in analysed.batch.items()},
        {role: tuple(i[-count:] for i in inputs) for role, inputs in analysed.inputs.items()},
    )


def _samples(step: Trained, analysed: AnalysisBatch) -> Batch:
    """What the phase found, and what it needs to take features anew."""
    if "encoder" not in step.networks:
        return step.batch
    frames = {f"{INPUT}{i}": entry for i, entry in enumerate(analysed.inputs["encoder"])}
    return step.batch | frames


def _objective(step: Trained) -> Objective:
    """The phase's objective as a function of its networks' parameters, by ``role.parameter``."""
    run = _Run(step)

    def objective(parameters: dict[str, Tensor], batch: Batch) -> Tensor:
        answer: Tensor = torch.func.functional_call(run, parameters, (batch,))
        return answer

    return objective


@final
class _Run(nn.ModuleDict):
    """The phase as a module of its networks, so that ``functional_call`` can swap weights."""

    def __init__(self, step: Trained) -> None:
        super().__init__(step.networks)
        self._phase = step.phase

    def forward(self, batch: Batch) -> Tensor:
        inputs = [batch[key] for key in batch if key.startswith(INPUT)]
        if inputs:
            batch = batch | {"features": self["encoder"](*inputs)}
        objective, _ = self._phase.run(dict(batch))
        assert objective is not None
        return objective.mean()
