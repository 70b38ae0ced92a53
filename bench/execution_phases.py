"""Where the time of a sparse update goes: clocks around the kernels and the optimizer."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn

from bench.execution_parts import Clock
from core.agent.learner import Learner
from core.api import Batch

Parts = dict[str, float]
"""Seconds of one update by part; they add up to the last, ``update``."""


def phases(learner: Learner, batch: Batch, clock: Clock, updates: int = 5) -> Parts:
    """Medians over some updates."""
    found = [_once(learner, batch, clock) for _ in range(updates)]
    parts = {name: statistics.median(f[name] for f in found) for name in found[0]}
    total = parts.pop("update")
    parts["layer norms"] = _layer_norms(learner.loss, clock)
    parts["rest"] = total - sum(parts.values())
    return parts | {"update": total}


def _once(learner: Learner, batch: Batch, clock: Clock) -> Parts:
    from plugins.execution import kernels

    parts: Parts = {"products forward": 0.0, "products backward": 0.0}
    parts |= {"optimizer": 0.0, "gradient norm": 0.0}
    with (
        _timed(kernels, "forward", "products forward", parts, clock),
        _timed(kernels, "backward", "products backward", parts, clock),
        _timed(learner.steps[0].optimizer, "step", "optimizer", parts, clock),
        _timed(torch.nn.utils, "get_total_norm", "gradient norm", parts, clock),
    ):
        started = clock()
        learner.step(batch)
        total = clock() - started
    return parts | {"update": total}


@contextmanager
def _timed(owner: Any, name: str, part: str, parts: Parts, clock: Clock) -> Iterator[None]:
    """Add the time of every call of ``owner.name`` to ``parts[part]``."""
    call: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        started = clock()
        try:
            return call(*arguments, **options)
        finally:
            parts[part] += clock() - started

    with mock.patch.object(owner, name, timed):
        yield


def _layer_norms(loss: Any, clock: Clock, updates: int = 5) -> float:
    """Of one update, run by themselves: forward for online and target, backward for online."""
    norms = [m for m in loss.critic.modules() if isinstance(m, nn.LayerNorm)]
    inputs = [torch.randn(256, *m.normalized_shape, requires_grad=True) for m in norms]
    upstream = [torch.randn_like(x) for x in inputs]
    taken = []
    for _ in range(updates):
        started = clock()
        with torch.no_grad():
            for norm, x in zip(norms, inputs, strict=True):
                norm(x)
        for norm, x, g in zip(norms, inputs, upstream, strict=True):
            torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), g)
        taken.append(clock() - started)
    return statistics.median(taken)
