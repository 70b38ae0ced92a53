"""Execution backends that break one rule each, made of ``masked``."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch

from plugins.testing.harness import catalogue
from tests.plugins.testing.faulty import Fault

_calls = itertools.count()


class Wrapped:
    """``masked``, with everything passed on."""

    def __init__(self, context: Any) -> None:
        self.inner = catalogue.build(catalogue.built_ins(), "execution", "masked", {}, context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Scales(Wrapped):
    def attach(self, module, masks, role=""):
        attached = self.inner.attach(module, masks, role)
        with torch.no_grad():
            next(attached.parameters()).mul_(1.1)
        return attached


class Renames(Wrapped):
    def attach(self, module, masks, role=""):
        return torch.nn.Sequential(self.inner.attach(module, masks, role))


class KeepsItsMasks(Wrapped):
    def remask(self, networks, masks, optimizers):
        pass


class LetsGradientsThrough(Wrapped):
    def constrain_gradients(self, parameters, gradients):
        pass


class NeverReapplies(Wrapped):
    def reapply(self):
        pass


class OneOfAKind(Wrapped):
    def attach(self, module, masks, role=""):
        attached = self.inner.attach(module, masks, role)
        attached.__deepcopy__ = lambda memo: attached
        return attached


class ReportsObjects(Wrapped):
    def report(self):
        return {"backend": "faulty", "index_bytes": 0, "device": object()}


class ChoosesAnew(Wrapped):
    def report(self):
        layers = {"critic.head.weight": {"choice": f"choice {next(_calls)}"}}
        return {"backend": "faulty", "index_bytes": 0, "layers": layers}


class Drifts(Wrapped):
    def __init__(self, context):
        super().__init__(context)
        self.modules = []

    def attach(self, module, masks, role=""):
        self.modules.append(self.inner.attach(module, masks, role))
        return module

    def reapply(self):
        self.inner.reapply()
        with torch.no_grad():
            for module in self.modules:
                next(module.parameters()).mul_(1 + 1e-6)


class LetsAllLive(Wrapped):
    def attach(self, module, masks, role=""):
        attached = self.inner.attach(module, {}, role)
        return attached


class Row:
    """A row of ``masked``, with everything passed on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class DoubledRow(Row):
    def forward(self, inputs):
        return 2 * self.inner.forward(inputs)


class RowOfAnotherNorm(Row):
    def accumulate(self, gradient, trace, decay):
        return self.inner.accumulate(gradient, trace, decay) ** 2


class StillRow(Row):
    def move(self, direction, scale):
        pass


class FrozenRow(Row):
    """Runs a copy of the module as it was."""

    def __init__(self, inner, module):
        super().__init__(inner)
        self.module = copy.deepcopy(module)

    def forward(self, inputs):
        given = self.module(inputs[None])
        return torch.cat([part.detach().flatten() for part in given])


def with_row(make: Any) -> type:
    class WithRow(Wrapped):
        def row(self, module):
            return make(self.inner.row(module), module)

    return WithRow


def fault(check: str, words: str, backend: type) -> Fault:
    return Fault("execution", check, lambda options, context: backend(context), words)


GOOD = fault("", "", Wrapped)
FAULTS = [
    fault("outputs_and_gradients_are_those_of_dense_weights", "outputs are off", Scales),
    fault("parameters_keep_their_names", "go by these names", Renames),
    fault("masks_that_keep_everything_change_nothing", "nothing removed", Scales),
    fault("a_network_without_masks_is_as_it_was", "without masks", Scales),
    fault("a_layer_may_lose_all_its_weights", "where none is kept", KeepsItsMasks),
    fault("removed_weights_stay_removed_in_training", "not exactly zero", LetsGradientsThrough),
    fault("gradients_of_each_environment_are_constrained", "[4, *shape]", LetsGradientsThrough),
    fault("reapply_removes_again_what_was_written", "'reapply'", NeverReapplies),
    fault("a_copy_is_a_network_of_its_own", "deepcopy", OneOfAKind),
    fault("other_masks_keep_what_lives_on", "what was dropped is zero", KeepsItsMasks),
    fault("report_is_plain", "plain Python", ReportsObjects),
    fault("a_later_process_chooses_the_same", "otherwise", ChoosesAnew),
    fault("state_goes_to_masked_and_back_bit_for_bit", "saved and loaded", Drifts),
    fault("agents_learn_under_it", "removed weights in", LetsAllLive),
    fault("a_row_gives_what_the_module_gives", "'forward'", with_row(lambda r, m: DoubledRow(r))),
    fault(
        *("a_row_accumulates_what_autograd_gives", "L1 norm"),
        with_row(lambda row, module: RowOfAnotherNorm(row)),
    ),
    fault("a_row_moves_the_modules_parameters", "moved", with_row(lambda r, m: StillRow(r))),
    fault("a_row_follows_other_masks", "after 'remask'", with_row(FrozenRow)),
]
