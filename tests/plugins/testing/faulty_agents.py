"""Diagnostics and interventions that break one rule each."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from core.api import BatchOptions, assign_dense, dense
from tests.plugins.testing.faulty import Fault

NEEDS = {"needs": frozenset({"inspection"})}
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


class Never(Norm):
    every = 0


class Greedy(Norm):
    def measure(self, probe):
        probe.batch(EIGHT)
        return super().measure(probe)


class Lost(Norm):
    def measure(self, probe):
        return {"norm": float("nan")}


class Moves(Norm):
    def measure(self, probe):
        next(probe.networks["actor"].parameters()).data.add_(1e-6)
        return super().measure(probe)


class LeavesHooks(Norm):
    def measure(self, probe):
        probe.networks["actor"].register_forward_hook(lambda *_: None)
        return super().measure(probe)


class Counts(Norm):
    calls = itertools.count()

    def measure(self, probe):
        return {"calls": float(next(self.calls))}


class NamedByTime(Norm):
    def measure(self, probe):
        return {f"at_{probe.frame}": 1.0}


class CountsStored(Norm):
    def measure(self, probe):
        return {"count": float(sum(p.numel() for p in probe.networks["actor"].parameters()))}


class ComparesNothing(Norm):
    def before_update(self, probe):
        pass

    def measure(self, probe):
        return {"change": 0.0}


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


class NeverDue(Noise):
    def due(self, last, frame):
        return False


class DueAtItsFrameAlone(Noise):
    def due(self, last, frame):
        return frame > last and frame % 300 == 0


class AlwaysDue(Noise):
    def due(self, last, frame):
        return True


class CountsItsCalls(Noise):
    def __init__(self) -> None:
        self.calls = itertools.count()

    def due(self, last, frame):
        return next(self.calls) % 2 == 0


class AsksForMore(Noise):
    def intervene(self, subject):
        subject.batch(EIGHT)
        return super().intervene(subject)


class ReportsInfinity(Noise):
    def intervene(self, subject):
        return {"size": float("inf")}


class DoesNothing(Noise):
    def intervene(self, subject):
        return {}


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


class Misshapes(Noise):
    def intervene(self, subject):
        for _, optimizer in subject.phases:
            for state in optimizer.state.values() if optimizer else ():
                state.update({key: torch.zeros(1, 2, 3) for key in state})
        return {}


class Poisons(Noise):
    def intervene(self, subject):
        for parameter in subject.networks["actor"].parameters():
            parameter.data.mul_(float("nan"))
        return {}


class DrawsByItself(Noise):
    draw = torch.Generator().manual_seed(0)

    def intervene(self, subject):
        for parameter in subject.networks["actor"].parameters():
            parameter.data.add_(torch.rand((), generator=self.draw))
        return {}


class ScalesByStored(Noise):
    def intervene(self, subject):
        for parameter in subject.networks["actor"].parameters():
            parameter.data.mul_(1 + parameter.numel() / 100)
        return {}


def measured(check: str, words: str, diagnostic: type, **more: Any) -> Fault:
    return Fault("diagnostics", check, lambda options, context: diagnostic(), words, **more)


def done(check: str, words: str, intervention: type, **more: Any) -> Fault:
    return Fault("interventions", check, lambda options, context: intervention(), words, **more)


class Undeclared(Norm):
    batch = EIGHT


GOOD_DIAGNOSTIC, GOOD_INTERVENTION = measured("", "", Norm), done("", "", Noise)
FAULTS = [
    measured("says_when_it_measures", "'every'", Never),
    measured("says_which_transitions_it_needs", "asks the probe", Greedy, component=NEEDS),
    measured("says_which_transitions_it_needs", "must need 'inspection'", Undeclared),
    measured("measures_finite_numbers", "'faulty/norm' is nan", Lost),
    measured("measuring_changes_nothing", "learner.loss.actor", Moves),
    measured("measuring_changes_nothing", "hooks", LeavesHooks),
    measured("measuring_twice_gives_the_same", "'faulty/calls'", Counts),
    measured("names_of_numbers_stay", "at_", NamedByTime),
    measured("numbers_are_the_same_under_sparse_execution", "'faulty/count'", CountsStored),
    measured("compares_an_update_with_what_was_before", "'before_update'", ComparesNothing),
    done("is_due_at_some_frame", "never due", NeverDue),
    done("is_due_where_one_of_its_frames_lies_between", "(last, frame]", DueAtItsFrameAlone),
    done("is_not_due_again_at_the_same_frame", "happen twice", AlwaysDue),
    done("asking_when_changes_nothing", "keep no counter", CountsItsCalls),
    done("says_which_transitions_it_needs", "asks the probe", AsksForMore, component=NEEDS),
    done("reports_finite_numbers", "'faulty/size' is inf", ReportsInfinity),
    done("weights_change", "no weight", DoesNothing),
    done("removed_weights_stay_exactly_zero", "target_critic", WakesTargets, component=NEEDS),
    done("parameters_change_in_place", "bias", Replaces),
    done("optimizer_state_fits_its_parameters", "[1, 2, 3]", Misshapes),
    done("learning_goes_on", "learning stops", Poisons),
    done("the_same_seed_gives_the_same_weights", "differ: draw", DrawsByItself),
    done("weights_are_the_same_under_sparse_execution", "kept weights", ScalesByStored),
]
