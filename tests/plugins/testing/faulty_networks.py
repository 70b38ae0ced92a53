"""Network designs that are each wrong in one way."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from plugins.testing.harness.agents import PIXELS
from tests.plugins.testing.faulty import Fault

numbers = itertools.count(1)
WIDTH = 6


class Actor(nn.Module):
    def __init__(self, inputs, heads):
        super().__init__()
        self.body = nn.Linear(inputs, WIDTH)
        self.outs = nn.ModuleList([nn.Linear(WIDTH, size) for size in heads.values()])

    def forward(self, features):
        hidden = self.body(features).tanh()
        return tuple([out(hidden) for out in self.outs])


class Critic(nn.Module):
    def __init__(self, inputs, members, outputs):
        super().__init__()
        self.bodies = nn.ModuleList([nn.Linear(inputs, WIDTH) for _ in range(members)])
        self.outs = nn.ModuleList([nn.Linear(WIDTH, outputs) for _ in range(members)])

    def forward(self, *inputs):
        x = torch.cat(inputs, -1)
        pairs = zip(self.bodies, self.outs, strict=True)
        return torch.stack([out(body(x).tanh()) for body, out in pairs])


class Plain:
    """A good design."""

    def __init__(self, options, context):
        self.inputs, self.actions = context.spec.observation[0], context.spec.action

    def normaliser(self):
        return None

    def encoder(self):
        return None

    def actor(self, heads):
        return Actor(self.inputs, heads)

    def critic(self, members, outputs=1, *, action=True):
        return Critic(self.inputs + self.actions * action, members, outputs)


def with_actor(change):
    """The good design with a change to each actor that it makes."""

    class Changed(Plain):
        def actor(self, heads):
            made = super().actor(heads)
            return change(made) or made

    return Changed


def with_critic(change):
    class Changed(Plain):
        def critic(self, members, outputs=1, *, action=True):
            made = super().critic(members, outputs, action=action)
            return change(made) or made

    return Changed


class Wrapped(nn.Module):
    """A module with something done to what it is given or answers."""

    def __init__(self, inner, before=lambda x: x, after=lambda x: x):
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, *inputs):
        return self.after(self.inner(*map(self.before, inputs)))


class Undead(Actor):
    def __deepcopy__(self, memo):
        return self


def undead(actor):
    actor.__class__ = Undead


def alike(critic):
    for layers in (critic.bodies, critic.outs):
        for index in range(1, len(layers)):
            layers[index] = copy.deepcopy(layers[0])


def one_head(critic):
    for index in range(1, len(critic.outs)):
        critic.outs[index] = critic.outs[0]


def unused(actor):
    actor.unused = nn.Linear(2, 2)


def frozen(actor):
    actor.body.requires_grad_(False)


def seeded_by_number(actor):
    with torch.no_grad():
        actor.body.weight.fill_(next(numbers))


def the_same_again(actor):
    for parameter in actor.parameters():
        nn.init.constant_(parameter, 0.1)


def from_numpy(actor):
    nn.init.constant_(actor.body.bias, np.random.rand())


def read(x):
    return x * float(x.abs().max() > 0)


def hidden(actor):
    shift = torch.randn(())
    return Wrapped(actor, after=lambda out: tuple([head + shift for head in out]))


class ByWeight(Actor):
    def forward(self, features):
        hidden = F.linear(features, self.body.weight, self.body.bias).tanh()
        return tuple([out(hidden) for out in self.outs])


def by_weight(actor):
    actor.__class__ = ByWeight


class Statistics(nn.Module):
    """A normaliser that counts when it is asked too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def update(self, observation):
        self.count += len(observation)

    def forward(self, observation):
        self.update(observation)
        return observation / self.count


class Normalising(Plain):
    def normaliser(self):
        return Statistics()


FEATURES = {"provides": frozenset({"features"})}
_fault = partial(Fault, "networks")
FAULTS = [
    _fault(
        "answers_have_the_right_shapes",
        with_critic(lambda c: Wrapped(c, after=lambda out: out.transpose(0, 1))),
        "[members, B, outputs]",
    ),
    _fault(
        "answers_have_the_right_shapes", with_actor(lambda a: Wrapped(a, after=list)), "a tuple"
    ),
    _fault("is_made_on_the_cpu_in_float32", with_actor(lambda a: a.double()), "float64"),
    _fault("is_made_on_the_cpu_in_float32", with_actor(frozen), "make it a buffer"),
    _fault("refuses_other_environments", Plain, "are accepted", suite={"unfit": (PIXELS,)}),
    _fault("same_seed_gives_same_weights", with_actor(seeded_by_number), "actor.body.weight"),
    _fault("every_module_is_made_anew", with_actor(the_same_again), "do not seed it"),
    _fault("draws_from_torch_alone", with_actor(from_numpy), "NumPy's"),
    _fault("critics_differ", with_critic(alike), "answer alike"),
    _fault("critics_share_no_head", with_critic(one_head), "give each a head"),
    _fault("gradients_reach_every_parameter", with_actor(unused), "unused.weight"),
    _fault(
        "rows_are_independent",
        with_actor(lambda a: Wrapped(a, before=lambda x: x - x.mean(0))),
        "batch norm",
    ),
    _fault(
        "reads_nothing_on_the_host", with_actor(lambda a: Wrapped(a, before=read)), "Tensor.item"
    ),
    _fault("copies_are_independent", with_actor(undead), "changes the original"),
    _fault("weights_can_be_saved_and_loaded", with_actor(hidden), "a buffer"),
    _fault("masks_can_be_put_in_force", with_actor(by_weight), "rather than use its weight"),
    _fault("normaliser_keeps_statistics", Normalising, "only update() may"),
    _fault("features_are_where_they_are_said_to_be", Plain, "trunk", component=FEATURES),
]
