"""Optimizers that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import torch
from torch.optim import SGD, Optimizer

from tests.conformance.faulty import Fault


def plain(options, context):
    """A good optimizer: descent with momentum."""
    return lambda parameters, overrides, phase: SGD(
        parameters, **{"lr": 0.01, "momentum": 0.9, **overrides}
    )


class Traced(Optimizer):
    """A good optimizer with traces."""

    def __init__(self, parameters, lr=0.01, gamma=0.9, environments=1):
        super().__init__(parameters, {"lr": lr, "gamma": gamma})
        self.report = {}
        for p in self.weights:
            self.state[p]["trace"] = torch.zeros(environments, *p.shape)

    @property
    def weights(self):
        return self.param_groups[0]["params"]

    @torch.no_grad()
    def step(self, *, gradients, delta, reset):
        group = self.param_groups[0]
        for p, gradient in zip(self.weights, gradients, strict=True):
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


traced = making(Traced)


def with_step(do):
    """The good optimizer, and ``do(optimizer)`` before each step."""

    class Changed(SGD):
        def __init__(self, parameters, lr=0.01, **overrides):
            super().__init__(parameters, lr=lr, momentum=0.9, **overrides)

        def step(self, closure=None):
            with torch.no_grad():
                do(self, self.param_groups[0]["params"])
            return super().step(closure)

    return making(Changed)


class NoOptimizer:
    def __init__(self, parameters, **overrides):
        self.parameters = parameters

    def step(self):
        pass


def noise(optimizer, weights):
    for p in weights:
        p.add_(0.001 * torch.randn(p.shape))


def drift(optimizer, weights):
    for p in weights:
        p.add_(0.001)


def read(optimizer, weights):
    optimizer.norm = weights[0].grad.norm().item()


def flat_state(optimizer, weights):
    for p in weights:
        optimizer.state[p]["last"] = p.grad.flatten()


def remember_outside(optimizer, weights):
    optimizer.mean = [
        0.9 * m + p.grad
        for m, p in zip(getattr(optimizer, "mean", [0.0] * 9), weights, strict=False)
    ]
    for p, mean in zip(weights, optimizer.mean, strict=True):
        p.sub_(0.01 * mean)


class Deaf(SGD):
    def __init__(self, parameters, **overrides):
        super().__init__(parameters, lr=0.01)


class Cached(SGD):
    """Moves the memory that the weights had at first."""

    def __init__(self, parameters, lr=0.01):
        super().__init__(parameters, lr=lr)
        self.memory = [p.data for p in parameters]

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        for memory, p in zip(self.memory, group["params"], strict=True):
            if memory.shape == p.grad.shape:
                memory.sub_(group["lr"] * p.grad)


class CachedShrinking(Cached):
    """Does nothing once a weight has another shape."""

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        if all(m.shape == p.shape for m, p in zip(self.memory, group["params"], strict=True)):
            super().step(closure)


class NumbersReported(Traced):
    def step(self, **arguments):
        super().step(**arguments)
        self.report = {"steps": 1.0}


class NeverReset(Traced):
    def step(self, *, gradients, delta, reset):
        super().step(gradients=gradients, delta=delta, reset=torch.zeros_like(reset))


class OneOnly(Traced):
    def step(self, *, gradients, delta, reset):
        if len(delta) == 1:
            super().step(gradients=gradients, delta=delta, reset=reset)


TRACES = {"component": {"provides": frozenset({"eligibility traces"})}}
_fault = partial(Fault, "optimizers")
FAULTS = [
    _fault("makes_a_torch_optimizer_of_the_weights", making(NoOptimizer), "NoOptimizer"),
    _fault(
        "goes_against_the_gradient",
        making(partial(SGD, lr=0.01, maximize=True)),
        "along the gradient",
    ),
    _fault("takes_the_learning_rate_of_a_phase", making(Deaf), "overrides"),
    _fault("steps_alike_from_the_same_state", with_step(noise), "differ"),
    _fault("reads_nothing_on_the_host", with_step(read), "Tensor.item"),
    _fault("removed_weights_stay_zero", with_step(drift), "come back"),
    _fault("state_has_the_shape_of_the_weights", with_step(flat_state), "'last'"),
    _fault("removed_weights_stay_zero_in_an_agent", with_step(drift), "not zero"),
    _fault("goes_on_alike_from_a_checkpoint", with_step(remember_outside), "self.state"),
    _fault("lets_its_memory_be_replaced", making(Cached), "refresh()"),
    _fault("lets_weights_shrink", making(CachedShrinking), "shrank"),
    _fault("reports_scalars", making(NumbersReported), "not a number", **TRACES),
    _fault("reset_empties_the_trace", making(NeverReset), "left in the trace", **TRACES),
    _fault("takes_several_environments", making(OneOnly), "nothing moves", **TRACES),
]
