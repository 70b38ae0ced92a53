"""A plugin file with two faults: it imports imageio at once, and its scheme forgets what it did."""

from __future__ import annotations

from dataclasses import dataclass

import imageio  # noqa: F401

from core.api import Component, hookimpl


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


class Forgetful:
    """Every change depends on how many there were, which no checkpoint knows."""

    target = "all"
    batch = None

    def __init__(self, *_):
        self.changes = 0

    def draw(self, parameters, generator):
        import torch

        return {
            name: torch.rand(p.shape, generator=generator) < 0.5
            for name, p in parameters.items()
            if p.dim() > 1
        }

    def due(self, last, frame):
        return frame // 100 > max(last, 0) // 100

    def change(self, view):
        self.changes += 1
        return {name: view.masks[name].roll(self.changes) for name in view.masks}


@hookimpl
def register_masks():
    return [Component("faulty", Options, Forgetful, "forgets how often it changed")]
