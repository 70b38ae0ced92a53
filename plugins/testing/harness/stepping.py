"""An optimizer with a few weights and made-up gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from core.api.optimizers import Refreshable

SHAPES = ((5, 4), (5,), (3, 5))
"""Of a weight, a bias and another weight."""


@final
class Stepper:
    """One optimizer and what it moves; gradients follow from the number of the step."""

    def __init__(self, factory: Any, traces: bool, overrides: Mapping[str, Any]) -> None:
        """``overrides`` are what the phase fixes, besides what traces need."""
        draw = torch.Generator().manual_seed(1)
        self.weights = [nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]
        self.traces = traces
        fixed = dict(overrides)
        if traces:
            fixed = {"gamma": 0.9, "environments": 1} | fixed
        self.count = int(fixed.get("environments", 1))
        self.optimizer: Any = factory(self.weights, fixed, "critic")
        self.steps = 0

    def gradients(self) -> list[Tensor]:
        """``[N, *shape]`` for each weight, other ones at every step."""
        draw = torch.Generator().manual_seed(100 + self.steps)
        return [torch.randn(self.count, *w.shape, generator=draw) for w in self.weights]

    def step(
        self, gradients: list[Tensor] | None = None, *, reset: bool = False, delta: float = 1.0
    ) -> None:
        """One step by the ``gradients`` of the objective that is to fall."""
        given = self.gradients() if gradients is None else gradients
        self.steps += 1
        if self.traces:
            errors = torch.full((self.count,), delta)
            ended = torch.full((self.count,), reset)
            self.optimizer.step(gradients=given, delta=errors, reset=ended)
            return
        for weight, gradient in zip(self.weights, given, strict=True):
            weight.grad = gradient.mean(0)
        self.optimizer.step()
        for weight in self.weights:
            weight.grad = None

    def values(self) -> list[Tensor]:
        """The weights as they are, copied."""
        return [weight.detach().clone() for weight in self.weights]

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's state, copied."""
        return copy.deepcopy({"weights": self.values(), "optimizer": self.optimizer.state_dict()})

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state` gave."""
        for weight, value in zip(self.weights, state["weights"], strict=True):
            weight.data.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])

    def slots(self) -> Iterator[tuple[int, str, Tensor]]:
        """``(index of the weight, name, tensor)`` of everything remembered of a weight."""
        for index, weight in enumerate(self.weights):
            for name, value in self.optimizer.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    yield index, name, value

    def move_memory(self) -> None:
        """Give weights and state other memory, as a backend does that changes masks."""
        for weight in self.weights:
            weight.data = weight.data.clone()
        for weight in self.weights:
            slots = self.optimizer.state.get(weight, {})
            for name, value in slots.items():
                if isinstance(value, Tensor):
                    slots[name] = value.clone()
        self._refresh()

    def shrink(self) -> None:
        """Leave the first weight with its first two rows, flat, and its state likewise."""
        first = self.weights[0]
        shape = first.shape
        first.data = first.data[:2].flatten()
        slots = self.optimizer.state.get(first, {})
        for name, value in slots.items():
            if isinstance(value, Tensor) and value.shape[-2:] == shape:
                slots[name] = value[..., :2, :].flatten(-2)
        self._refresh()

    def _refresh(self) -> None:
        if isinstance(self.optimizer, Refreshable):
            self.optimizer.refresh()
