"""Agents whose masks change, stepped as a run steps them."""

from __future__ import annotations

from typing import Any

import torch

from core.agent.state import copies
from core.api import BatchOptions, MaskContext
from core.api.layers import dense
from core.training.mask_updates import MaskUpdates
from plugins.masks import register_masks
from tests.support.intervened import make_agent, transitions
from tests.support.twins import BACKENDS
from tests.support.views import make_view

torch.set_num_threads(1)
COMPONENTS = {component.name: component for component in register_masks()}
OPTIONS: dict[str, dict[str, Any]] = {
    "set": {"drop_fraction": 0.4},
    "rigl": {"drop_fraction": 0.4, "batch": BatchOptions(size=32)},
    "gmp": {"begin": 0},
}
FRAMES = 1000


def scheme(name, frames=FRAMES, **options):
    component = COMPONENTS[name]
    given = {"sparsity": 0.5, "every": 100} | OPTIONS[name] | options
    return component.build(component.options(**given), MaskContext(frames))


def agent_with(kind, backend, chosen, **wiring):
    """An agent whose masks the scheme draws, and a updates that will change them."""
    agent = make_agent(kind, scheme=chosen, execution=BACKENDS[backend](), **wiring)
    agent.mask_updates = MaskUpdates(agent.parts.schemes, seed=1)
    return agent


def view_of(agent, frame):
    return make_view(agent, transitions(agent.spec, 64, seed=9), frame=frame)


def change(agent, frame):
    """As the loop does before an update at this frame; what is logged of each network."""
    updates = agent.mask_updates
    reports = updates.change(updates.due(frame), view_of(agent, frame))
    return {key: value for report in reports for key, value in report.items()}


def snapshot(agent):
    """Every weight of two and more dimensions, its copies and what optimizers remember, dense.

    By role, parameter, and what it is: ``weight.0`` of the network itself, ``weight.1`` of its
    target, ``exp_avg``.
    """
    found: dict[tuple[str, str, str], torch.Tensor] = {}
    optimizers = [s.optimizer for s in agent.learner.steps if s.optimizer is not None]
    for role, modules in copies(agent.loss, agent.parts.modules).items():
        for name in agent.masks.masks[role]:
            for index, module in enumerate(modules):
                found[role, name, f"weight.{index}"] = dense(module, name).detach().clone()
            parameter = modules[0].get_parameter(name)
            for optimizer in optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    if value.shape[value.dim() - parameter.dim() :] == parameter.shape:
                        found[role, name, key] = dense(modules[0], name, value).clone()
    return found


def masks_of(agent):
    return {
        (role, name): mask
        for role, masks in agent.masks.masks.items()
        for name, mask in masks.items()
    }


def assert_zero_outside(agent):
    for (role, name, what), value in snapshot(agent).items():
        removed = ~agent.masks.masks[role][name]
        assert not (value * removed).any(), (role, name, what)
        assert value.isfinite().all()
