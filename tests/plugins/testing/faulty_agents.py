"""Diagnostics and interventions that break one rule each."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from core.api import BatchOptions, assign_dense, dense
from tests.plugins.testing.faulty import Fault, but

EIGHT = BatchOptions(size=8)


class Norm:
    """A good diagnostic: the norm of the actor's weights."""

    every: Any = 10
    batch: Any = None

    def measure(self, probe):
        actor = probe.networks["actor"]
        return {
            "norm": sum(float(dense(actor, n).detach().norm()) for n, _ in actor.named_parameters())
        }


class Moves(Norm):
    def measure(self, probe):
        next(probe.networks["actor"].parameters()).data.add_(1e-6)
        return super().measure(probe)


def measuring(number, name=lambda probe: "number", **more):
    """The good diagnostic, of another number."""
    return but(Norm, measure=lambda self, probe: {name(probe): float(number(probe))}, **more)


# --- interventions ----------------------------------------------------------------------


class Noise:
    """A good intervention: noise on the actor's weights."""

    batch: Any = None

    def due(self, last, frame):
        return frame // 300 > last // 300

    def intervene(self, subject):
        actor = subject.networks["actor"]
        for name, _ in actor.named_parameters():
            weight = dense(actor, name).detach()
            assign_dense(actor, name, weight + 0.1 * torch.randn(weight.shape))
        return {"size": 0.1}


class WakesTargets(Noise):
    def intervene(self, subject):
        for target in subject.loss.targets.values():
            for parameter in target.parameters():
                parameter.data.add_(1.0)
        return {}


class Replaces(Noise):
    def intervene(self, subject):
        for module in subject.networks["actor"].modules():
            if isinstance(module, torch.nn.Linear) and module.bias is not None:
                module.bias = torch.nn.Parameter(module.bias.detach() + 1)
        return {}


def intervening(change):
    """The good intervention, with another change of each of the actor's parameters."""

    def intervene(self, subject):
        for parameter in subject.networks["actor"].parameters():
            change(parameter.data)
        return {}

    return but(Noise, intervene=intervene)


def measured(check: str, words: str, diagnostic: type, **more: Any) -> Fault:
    return Fault("diagnostics", check, words, lambda options, context: diagnostic(), **more)


def done(check: str, words: str, intervention: type, **more: Any) -> Fault:
    return Fault("interventions", check, words, lambda options, context: intervention(), **more)


calls, draw = itertools.count(), torch.Generator().manual_seed(0)
SAYS, FINITE, DUE = (
    "says_when_and_of_what_it_measures",
    "measures_the_same_finite_numbers",
    "is_due_at_its_frames",
)
LEARNS = "learning_goes_on_and_removed_weights_stay_zero"
FAULTS = [
    measured(SAYS, "must need ['inspection']", but(Norm, batch=EIGHT)),
    measured("measuring_changes_nothing", "learner.loss.actor", Moves),
    measured(
        *(FINITE, "'faulty/number'"),
        measuring(lambda probe: next(calls)),
    ),
    measured(
        *("numbers_are_the_same_under_sparse_execution", "'faulty/number'"),
        measuring(lambda probe: sum(p.numel() for p in probe.networks["actor"].parameters())),
    ),
    measured(
        *("compares_an_update_with_what_was_before", "'before_update'"),
        measuring(lambda probe: 0, before_update=lambda self, probe: None),
    ),
    done(DUE, "(last, frame]", but(Noise, due=lambda self, last, frame: True)),
    done("says_what_it_needs_and_did", "no weight", intervening(lambda weight: None)),
    done(
        *(LEARNS, "target_critic", WakesTargets),
        component={"needs": frozenset({"inspection"})},
    ),
    done(LEARNS, "bias", Replaces),
    done(
        *("the_same_seed_gives_the_same_weights", "differ: draw"),
        intervening(lambda weight: weight.add_(torch.rand((), generator=draw))),
    ),
    done(
        *("weights_are_the_same_under_sparse_execution", "kept weights"),
        intervening(lambda weight: weight.mul_(1 + weight.numel() / 100)),
    ),
]
