"""Execution backends that break one rule each, made of ``masked``."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from plugins.testing.harness import catalogue
from tests.plugins.testing.faulty import Fault, but


class Wrapped:
    """``masked``, with everything passed on."""

    def __init__(self, context: Any) -> None:
        self.inner = catalogue.build(catalogue.built_ins(), "execution", "masked", {}, context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def attaching(change):
    """``masked``, with what it attaches changed."""

    def attach(self, module, masks, role=""):
        attached = self.inner.attach(module, masks, role)
        return change(attached) or attached

    return but(Wrapped, attach=attach)


class ChoosesAnew(Wrapped):
    calls = itertools.count()

    def report(self):
        layers = {"critic.head.weight": {"choice": f"choice {next(self.calls)}"}}
        return {"backend": "faulty", "index_bytes": 0, "layers": layers}


class Drifts(Wrapped):
    def attach(self, module, masks, role=""):
        self.modules = [*self.__dict__.get("modules", ()), self.inner.attach(module, masks, role)]
        return module

    @torch.no_grad()
    def reapply(self):
        self.inner.reapply()
        for module in self.modules:
            next(module.parameters()).mul_(1 + 1e-6)


def fault(check: str, words: str, backend: type) -> Fault:
    return Fault("execution", check, words, lambda options, context: backend(context))


def nothing(self, *_):
    """What a method does that was forgotten."""


Scales = attaching(lambda module: next(module.parameters()).data.mul_(1.1) is None or None)
FAULTS = [
    fault("outputs_and_gradients_are_those_of_masked", "off by", Scales),
    fault(
        *("learns_what_masked_learns", "not zero"),
        but(Wrapped, constrain_gradients=nothing),
    ),
    fault(
        *("gradients_and_writes_are_constrained", "[4, *shape]"),
        but(Wrapped, constrain_gradients=nothing),
    ),
    fault("gradients_and_writes_are_constrained", "'reapply'", but(Wrapped, reapply=nothing)),
    fault(
        *("a_copy_is_a_network_of_its_own", "deepcopy"),
        attaching(lambda module: setattr(module, "__deepcopy__", lambda memo: module)),
    ),
    fault("other_masks_keep_what_lives_on", "dropped is zero", but(Wrapped, remask=nothing)),
    fault("report_is_plain_and_chosen_again", "otherwise", ChoosesAnew),
    fault("state_goes_to_masked_and_back_bit_for_bit", "saved and loaded", Drifts),
]
