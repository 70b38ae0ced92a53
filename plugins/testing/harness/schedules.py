"""Masks that change in training: asked when, and asked for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from core.agent.masks import PackedMasks
from core.agent.randomness import random_state, seed_everything, untouched_randomness
from core.training.mask_updates import NEVER, View
from plugins.testing.harness import generators
from plugins.testing.harness.agents import TinyRun
from plugins.testing.harness.mask_trials import misfits

INTERFACES = {
    ("batch", "due", "change"): "all three make its masks change in training "
    "(core.api.DynamicMasks); with some of them they never would",
    ("state_dict", "load_state_dict"): "both make it remembered in checkpoints (core.api.Stateful)",
}
"""What a scheme has all of or nothing, and what for."""


def contradiction(due: Callable[[int, int], bool], frames: int) -> str | None:
    """What ``due`` answers that no set of frames would, for changes that could have been."""
    steps = range(0, frames + 1, max(1, frames // 20))
    last = NEVER
    for frame in steps:
        asked = due(last, frame)
        if bool(asked) != bool(due(last, frame)):
            return f"due({last}, {frame}) answers otherwise when asked again"
        if not asked:
            continue
        for later in (step for step in steps if step > frame):
            if not due(last, later):
                return f"due({last}, {frame}) is true, but due({last}, {later}) is false"
        if due(frame, frame):
            return f"due({frame}, {frame}) is true, although nothing lies in between"
        last = frame
    return None


@dataclass
class Asked:
    """One change that a scheme was asked for."""

    role: str
    masks: PackedMasks = field(default_factory=PackedMasks)
    problems: list[str] = field(default_factory=list)


def ask(run: TinyRun) -> list[Asked]:
    """Ask for the first change of every network, and look at what it touches."""
    run.advance(2)
    found = []
    for role, scheme in run.agent.topology.schemes.items():
        steps = range(run.frame, run.config.run.frames + 1, run.stride)
        first = next((frame for frame in steps if scheme.due(NEVER, frame)), None)
        if first is not None:
            run.done = first // run.stride
            found.append(_ask(run, role, scheme))
    return found


class _View:
    """A view whose gradients draw nothing: a loss's own noise is not the scheme's doing."""

    def __init__(self, role: str, scheme: Any, probe: Any) -> None:
        self._view = View(role, scheme, probe)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def gradients(self) -> dict[str, torch.Tensor]:
        with untouched_randomness():
            return self._view.gradients()


def _ask(run: TinyRun, role: str, scheme: Any) -> Asked:
    network = run.agent.parts.modules[role]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    view = _View(role, scheme, run.probe())
    seed_everything(3)
    state = random_state()
    masks = dict(scheme.change(view))
    changed = generators.changed(state)
    asked = Asked(role)
    asked.problems += misfits(masks, view.shapes)
    if not asked.problems:
        asked.masks = PackedMasks(masks)
    if changed:
        asked.problems.append(f"it drew from {changed}; draw from view.generator alone")
    for name, parameter in network.named_parameters():
        if not torch.equal(parameter, before[name]):
            asked.problems.append(f"it wrote into the weights of '{name}'; core prunes them")
    return asked
