"""Churn: how far one update moves what the agent answers elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from core.api import AgentView, AnalysisBatch, Batch, DiagnosticContext, Measurements
    from plugins.diagnostics.options import ChurnOptions


def churn(before: Tensor, after: Tensor) -> Tensor:
    """Mean L2 distance between two answers to the same inputs, ``[..., D]`` each: a scalar.

    For values ``D`` is 1, and it is the mean absolute change (Tang & Berseth 2024, section 3).
    """
    return _norm(after.double() - before.double())


def relative_churn(before: Tensor, after: Tensor) -> Tensor:
    """:func:`churn` over the mean L2 norm of the answers before; NaN where these are zeros."""
    return churn(before, after) / _norm(before.double())


def greedy_churn(before: Tensor, after: Tensor) -> Tensor:
    """The share of samples whose best entry is another one, ``[..., n]`` each: a scalar in [0, 1].

    Of equal entries the first is the best (Schaul et al. 2022, section 2).
    """
    return (after.argmax(-1) != before.argmax(-1)).double().mean()


def _norm(vectors: Tensor) -> Tensor:
    mean: Tensor = torch.linalg.vector_norm(vectors, dim=-1).mean()
    return mean


class Answers(NamedTuple):
    """What the agent gives for the held transitions."""

    values: Tensor
    """``[M, B, 1]``"""
    policy: Tensor | None
    """``[B, A]``: the actor's first output, or the value of each choice."""


@final
class Churn:
    """See :class:`plugins.diagnostics.options.ChurnOptions`."""

    def __init__(self, options: ChurnOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self.batch = options.batch
        self._held: tuple[AnalysisBatch, Answers] | None = None

    def before_update(self, view: AgentView) -> None:
        """Hold the transitions, as the networks see them now, and the answers to them."""
        analysed = view.batch(self.batch)
        self._held = analysed, _answers(view, analysed)

    def measure(self, view: AgentView) -> Measurements:
        """``value``, ``policy`` and their relative forms; nothing unless an update came before."""
        if self._held is None:
            return {}
        (analysed, before), self._held = self._held, None
        after = _answers(view, analysed)
        measured = {
            "value": churn(before.values, after.values),
            "value_relative": relative_churn(before.values, after.values),
        }
        if before.policy is None or after.policy is None:
            return measured
        if view.spec.discrete:
            return measured | {"policy": greedy_churn(before.policy, after.policy)}
        return measured | {
            "policy": churn(before.policy, after.policy),
            "policy_relative": relative_churn(before.policy, after.policy),
        }


@torch.no_grad()
def _answers(view: AgentView, analysed: AnalysisBatch) -> Answers:
    batch, inputs = _encoded(view.networks, analysed)
    values = view.loss.predict(batch).unsqueeze(-1)
    if "actor" in inputs:
        given: Any = view.networks["actor"](*inputs["actor"])
        return Answers(values, given if isinstance(given, Tensor) else given[0])
    if view.spec.discrete:
        return Answers(values, view.networks["critic"](*inputs["critic"]).mean(0))
    return Answers(values, None)


def _encoded(
    networks: Mapping[str, nn.Module], analysed: AnalysisBatch
) -> tuple[Batch, Mapping[str, tuple[Tensor, ...]]]:
    """Batch and inputs with the features that the encoder gives now: updates move it too."""
    if "encoder" not in networks:
        return analysed.batch, analysed.inputs
    old = analysed.batch["features"]
    new = networks["encoder"](*analysed.inputs["encoder"])
    inputs = {
        role: tuple([new if tensor is old else tensor for tensor in tensors])
        for role, tensors in analysed.inputs.items()
    }
    return {**analysed.batch, "features": new}, inputs
