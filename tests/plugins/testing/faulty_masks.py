"""Pruning schemes that are each wrong in one way."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.api import BatchOptions
from tests.plugins.testing.faulty import Fault

HERE = Path(__file__).parent
numbers = itertools.count()


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


class WrongTarget(Halves):
    target = "brain"


class Floats(Halves):
    def one(self, parameter, generator):
        return torch.rand(parameter.shape, generator=generator)


class Misnamed(Halves):
    def draw(self, parameters, generator):
        return (("weight", self.one(p, generator)) for p in parameters.values())


class Vectors(Halves):
    def draw(self, parameters, generator):
        for name, p in parameters.items():
            yield name, self.one(p, generator)


class GlobalTorch(Halves):
    def one(self, parameter, generator):
        return torch.rand(parameter.shape) < 0.5


class GlobalNumpyInPairs(Halves):
    def draw(self, parameters, generator):
        for name, p in parameters.items():
            if p.dim() > 1:
                yield name, torch.from_numpy(np.random.rand(*p.shape)) < 0.5


class Writing(Halves):
    def one(self, parameter, generator):
        parameter.data.mul_(2.0)
        return super().one(parameter, generator)


class Restless(Halves):
    def one(self, parameter, generator):
        return super().one(parameter, torch.Generator().manual_seed(next(numbers)))


class Fixed(Halves):
    def one(self, parameter, generator):
        return torch.arange(parameter.numel()).view(parameter.shape) % 2 == 0


@dataclass(frozen=True)
class Sparsity:
    """How sparse."""

    sparsity: float = 0.9
    """Share removed."""


@dataclass(frozen=True)
class Target:
    """What for."""

    target: str = "all"
    """The network."""


class Deaf(Halves):
    target = "actor"


class Lazy(Halves):
    def __init__(self, options, context):
        self.target = options.target

    def draw(self, parameters, generator):
        return {}


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


class Incomplete(Halves):
    def due(self, last, frame):
        return True

    def change(self, view):
        return {}


class HalfStateful(Halves):
    def state_dict(self):
        return {}


class Needy(Turning):
    batch = BatchOptions(source="replay")


class Moody(Turning):
    def due(self, last, frame):
        return next(numbers) % 2 == 0


class Forgotten(Turning):
    def due(self, last, frame):
        return frame % 100 == 0


class Always(Turning):
    def due(self, last, frame):
        return True


class Tensors(Turning):
    def due(self, last, frame):
        return bool(torch.tensor(frame) // 100 > max(last, 0) // 100)


class Never(Turning):
    def due(self, last, frame):
        return False


class Losing(Turning):
    def change(self, view):
        return {n: self.one(view.weight(n), view.generator) for n in view.masks}


class ChangingByGlobal(Turning):
    def change(self, view):
        return {n: self.one(view.weight(n), None) for n in view.masks}


class ChangingWeights(Turning):
    def change(self, view):
        for name in view.masks:
            view.weight(name).zero_()
        return super().change(view)


class ChangingToFloats(Turning):
    def change(self, view):
        return {name: view.masks[name].float() for name in view.masks}


class ChangingRestlessly(Turning):
    def change(self, view):
        return {name: view.masks[name].roll(next(numbers) + 1) for name in view.masks}


def _fault(check, build, words, **more):
    return Fault("masks", check, build, words, **more)


KEEPS = {"keeps_count": True}
FAULTS = [
    _fault("names_its_target", WrongTarget, "'brain'"),
    _fault("draws_masks_that_fit", Floats, "torch.float32"),
    _fault("draws_masks_that_fit", Misnamed, "no parameter 'weight'"),
    _fault("leaves_vectors_dense", Vectors, "prunes_vectors"),
    _fault("draws_from_the_given_generator_only", GlobalTorch, "torch's"),
    _fault("draws_from_the_given_generator_only", GlobalNumpyInPairs, "NumPy's"),
    _fault("leaves_weights_as_they_are", Writing, "wrote into"),
    _fault("same_seed_gives_same_masks", Restless, "equally seeded"),
    _fault("other_seed_gives_other_masks", Fixed, "'random': False"),
    _fault("densities_are_met", Halves, "where sparsity is 0.9", options_type=Sparsity),
    _fault("densities_are_met", Halves, "not 0.3", suite={"density": lambda *_: 0.3}),
    _fault("prunes_each_network_that_is_asked_for", Deaf, "prunes actor", options_type=Target),
    _fault("prunes_each_network_that_is_asked_for", Lazy, "every weight", options_type=Target),
    _fault("removed_weights_stay_zero_with_replay", Reviving, "of the target"),
    _fault("removed_weights_stay_zero_when_streaming", Reviving, "not zero"),
    _fault("masks_are_the_same_whatever_the_execution", Peeking, "under 'sparse'"),
    _fault(
        "goes_on_alike_in_a_new_process",
        Halves,
        "state_dict()",
        suite={"plugin": HERE / "faulty_plugin.py"},
    ),
    _fault("is_complete", Incomplete, "not batch"),
    _fault("is_complete", HalfStateful, "not load_state_dict"),
    _fault("states_its_needs", Needy, "inspection"),
    _fault("schedule_is_of_frames", Moody, "asked again"),
    _fault("schedule_is_of_frames", Forgotten, "is false"),
    _fault("schedule_is_of_frames", Always, "nothing lies in between"),
    _fault("schedule_touches_no_tensor", Tensors, "before every update"),
    _fault("masks_change_in_the_run", Never, "no mask changed"),
    _fault("count_is_kept", Losing, "grow as many", suite=KEEPS),
    _fault("changes_fit_and_touch_nothing_else", ChangingByGlobal, "view.generator"),
    _fault("changes_fit_and_touch_nothing_else", ChangingWeights, "wrote into"),
    _fault("changes_fit_and_touch_nothing_else", ChangingToFloats, "torch.float32"),
    _fault("changes_fit_and_touch_nothing_else", ChangingRestlessly, "second time"),
]
