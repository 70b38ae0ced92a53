"""Optimizers that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import torch
from torch.optim import SGD, Optimizer

from tests.plugins.testing.faulty import Fault, but


class Momentum(SGD):
    """A good optimizer."""

    def __init__(self, parameters, lr=0.01, **overrides):
        super().__init__(parameters, lr=lr, momentum=0.9, **overrides)

    @property
    def weights(self):
        return self.param_groups[0]["params"]


class Traced(Optimizer):
    """A good optimizer with traces."""

    def __init__(self, parameters, lr=0.01, gamma=0.9, environments=1):
        super().__init__(parameters, {"lr": lr, "gamma": gamma})
        self.report = {}
        for p in self.param_groups[0]["params"]:
            self.state[p]["trace"] = torch.zeros(environments, *p.shape)

    @torch.no_grad()
    def step(self, *, gradients, delta, reset):
        group = self.param_groups[0]
        for p, gradient in zip(group["params"], gradients, strict=True):
            trace = self.state[p]["trace"]
            trace.mul_(0.8 * group["gamma"]).add_(gradient)
            errors = delta.reshape(-1, *[1] * p.dim())
            p.sub_(group["lr"] * (errors * trace).mean(0).clamp(-1, 1))
            trace.masked_fill_(reset.reshape(-1, *[1] * p.dim()), 0.0)
        self.report = {"trace_norm": trace.abs().sum()}


def making(kind):
    """A component's build function for an optimizer class."""
    return lambda options, context: (
        lambda parameters, overrides, phase: kind(parameters, **overrides)
    )


def with_step(do):
    """The good optimizer, and ``do(optimizer, weight)`` for each weight before each step."""

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.weights:
            do(self, p)
        with torch.enable_grad():
            return SGD.step(self)

    return making(but(Momentum, step=step))


def remember_outside(optimizer, p):
    held = optimizer.__dict__.setdefault("held", {})
    held[p] = 0.9 * held.get(p, 0.0) + p.grad
    p.sub_(0.01 * held[p])


class Cached(Momentum):
    """Moves the memory that the weights had at first, and nothing once one has another shape."""

    def __init__(self, parameters, lr=0.01):
        super().__init__(parameters, lr=lr)
        self.memory = [p.data for p in parameters]

    @torch.no_grad()
    def step(self, closure=None):
        same = all(m.shape == p.shape for m, p in zip(self.memory, self.weights, strict=True))
        for memory, p in zip(self.memory, self.weights, strict=True):
            if same:
                memory.sub_(self.param_groups[0]["lr"] * p.grad)


def traced(**changed):
    """The good optimizer with traces, with what its step is given changed."""

    def step(self, **given):
        Traced.step(self, **{key: changed.get(key, lambda x: x)(x) for key, x in given.items()})

    return making(but(Traced, step=step))


TRACES = {"component": {"provides": frozenset({"eligibility traces"})}}
GIVEN, REPLACED = "moves_the_weights_that_it_was_given", "lets_its_memory_be_replaced"
TRACE = "keeps_a_trace_of_each_environment"
_fault = partial(Fault, "optimizers")
FAULTS = [
    _fault(GIVEN, "along the gradient", making(partial(Momentum, maximize=True))),
    _fault(GIVEN, "overrides", making(lambda given, **_: Momentum(given))),
    _fault(
        "reads_nothing_on_the_host", "Tensor.item", with_step(lambda o, p: p.grad.norm().item())
    ),
    _fault("removed_weights_stay_zero", "come back", with_step(lambda o, p: p.add_(0.001))),
    _fault("removed_weights_stay_zero_in_an_agent", "zero", with_step(lambda o, p: p.add_(0.001))),
    _fault("goes_on_alike_from_a_checkpoint", "self.state", with_step(remember_outside)),
    _fault(REPLACED, "refresh()", making(Cached)),
    _fault(TRACE, "left in the trace", traced(reset=torch.zeros_like), **TRACES),
]
