"""Pruning schemes that are each wrong in one way; some in what holds for every component."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from core.api import require
from tests.plugins.testing.faulty import Fault, but

FILE = Path(__file__).parent / "faulty_plugin.py"


class Halves:
    """A good scheme: half of every kernel at random."""

    target = "all"

    def __init__(self, *_):
        pass

    def draw(self, parameters, generator):
        return {n: self.one(p, generator) for n, p in parameters.items() if p.dim() > 1}

    def one(self, parameter, generator):
        return torch.rand(parameter.shape, generator=generator) < 0.5


class Turning(Halves):
    """A good scheme whose masks change."""

    batch = None

    def due(self, last, frame):
        return frame // 100 > max(last, 0) // 100

    def change(self, view):
        return {name: view.masks[name].roll(1) for name in view.masks}


class Writing(Halves):
    def one(self, parameter, generator):
        parameter.data.mul_(2.0)
        return super().one(parameter, generator)


class Reviving(Turning):
    def draw(self, parameters, generator):
        self.held = list(parameters.values())
        return super().draw(parameters, generator)

    def due(self, last, frame):
        for parameter in self.held:
            parameter.data.add_(0.01)
        return False


class Peeking(Turning):
    def change(self, view):
        def compact(name):
            return view._network.get_parameter(name).shape != view.shapes[name]

        return {name: view.masks[name].roll(1 + compact(name)) for name in view.masks}


class ChangingWeights(Turning):
    def change(self, view):
        for name in view.masks:
            view.weight(name).zero_()
        return super().change(view)


@dataclass(frozen=True)
class Choices:
    """Options of which one is not explained, and one is checked too late."""

    target: str = "all"
    """The network."""
    sparsity: float = 0.9
    """Share removed."""
    unexplained: int = 2

    def __post_init__(self) -> None:
        require(self.sparsity < 1, "sparsity", "must be below 1")


CHOICES = {"options_type": Choices}
_fault = partial(Fault, "masks")
FAULTS = [
    # --- what holds for every component
    _fault("is_found_by_its_name", "mean 'faulty'?", Halves, suite={"component": "fauty"}),
    _fault("options_are_documented", "unexplained", Halves, **CHOICES),
    _fault("options_are_accepted", "sparsity", Halves, {"sparsty": 0.5}, **CHOICES),
    _fault(
        *("values_out_of_range_are_refused", "is accepted", Halves),
        suite={"refused": [{"sparsity": -1.0}]},
        **CHOICES,
    ),
    _fault(
        *("importing_the_plugin_brings_no_heavy_library", "imageio", Halves), suite={"plugin": FILE}
    ),
    _fault("builds_share_no_state", "seen", but(Halves, seen={})),
    _fault("draws_masks_that_fit", "'brain'", but(Halves, target="brain")),
    _fault(
        *("draws_from_its_generator_alone", "torch's"),
        but(Halves, one=lambda self, p, g: torch.rand(p.shape) < 0.5),
    ),
    _fault("draws_from_its_generator_alone", "wrote into", Writing),
    _fault("the_sparsity_is_met", "where sparsity is 0.9", Halves, **CHOICES),
    _fault(
        *("prunes_each_network_that_is_asked_for", "prunes actor"),
        but(Halves, target="actor"),
        **CHOICES,
    ),
    _fault("removed_weights_stay_zero", "not zero", Reviving),
    _fault("masks_are_the_same_whatever_the_execution", "under 'sparse'", Peeking),
    _fault(
        *("goes_on_alike_in_a_new_process", "state_dict()", Halves),
        suite={"plugin": FILE},
    ),
    _fault(
        "is_due_at_its_frames", "not batch", but(Halves, due=Turning.due, change=Turning.change)
    ),
    _fault(
        *("is_due_at_its_frames", "calls torch"),
        but(Turning, due=lambda self, last, f: bool(torch.tensor(f) // 100 > max(last, 0) // 100)),
    ),
    _fault(
        *("masks_change_in_the_run", "no mask changed"),
        but(Turning, due=lambda self, last, frame: False),
    ),
    _fault(
        *("masks_change_in_the_run", "grow as many"),
        but(Turning, change=lambda self, v: {n: v.masks[n] & v.masks[n].roll(1) for n in v.masks}),
        suite={"keeps_count": True},
    ),
    _fault(
        *("changes_fit_and_touch_nothing_else", "view.generator"),
        but(Turning, change=lambda self, v: {n: self.one(v.weight(n), None) for n in v.masks}),
    ),
    _fault("changes_fit_and_touch_nothing_else", "wrote into", ChangingWeights),
]
