"""Network designs that are each wrong in one way."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.plugins.testing.faulty import Fault, but

WIDTH = 6


class Actor(nn.Module):
    def __init__(self, inputs, heads):
        super().__init__()
        self.body = nn.Linear(inputs, WIDTH)
        self.outs = nn.ModuleList([nn.Linear(WIDTH, size) for size in heads.values()])

    def hidden(self, features):
        return self.body(features).tanh()

    def forward(self, features):
        hidden = self.hidden(features)
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

    def actor(self, heads):
        made = Plain.actor(self, heads)
        return change(made) or made

    return but(Plain, actor=actor)


def with_critic(change):
    def critic(self, members, outputs=1, *, action=True):
        made = Plain.critic(self, members, outputs, action=action)
        return change(made) or made

    return but(Plain, critic=critic)


def with_class(**changed):
    """The good design with other methods of its actors."""
    kind = but(Actor, **changed)
    return with_actor(lambda actor: setattr(actor, "__class__", kind))


def alike(critic):
    for layers in (critic.bodies, critic.outs):
        for index in range(1, len(layers)):
            layers[index] = copy.deepcopy(layers[0])


def shifted(actor):
    """By a number that no state has."""
    shift = torch.randn(())
    actor.register_forward_hook(lambda module, given, out: tuple([head + shift for head in out]))


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


SHAPES, SEED = "answers_have_the_right_shapes", "weights_follow_from_the_seed"
_fault = partial(Fault, "networks")
FAULTS = [
    _fault(
        *(SHAPES, "[members, B, outputs]"),
        with_critic(lambda c: c.register_forward_hook(lambda m, x, out: out.mT) and None),
    ),
    _fault(
        *(SEED, "NumPy's"),
        with_actor(lambda a: nn.init.constant_(a.body.bias, np.random.rand()) is None or None),
    ),
    _fault("critics_differ", "answer alike", with_critic(alike)),
    _fault(
        *("gradients_reach_every_parameter", "unused.weight"),
        with_actor(lambda actor: actor.add_module("unused", nn.Linear(2, 2))),
    ),
    _fault(
        *("rows_are_independent", "batch norm"),
        with_class(hidden=lambda self, x: Actor.hidden(self, x - x.mean(0))),
    ),
    _fault(
        *("reads_nothing_on_the_host", "Tensor.item"),
        with_class(hidden=lambda self, x: Actor.hidden(self, x * float(x.abs().max() > 0))),
    ),
    _fault("copies_are_independent", "a buffer", with_actor(shifted)),
    _fault(
        *("masks_can_be_put_in_force", "rather than use its weight"),
        with_class(hidden=lambda self, x: F.linear(x, self.body.weight, self.body.bias).tanh()),
    ),
    _fault(
        *("normaliser_keeps_statistics", "only update() may"),
        but(Plain, normaliser=lambda self: Statistics()),
    ),
]
