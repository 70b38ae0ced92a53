"""Tiny agents with masks, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from core.agent import state as portable
from core.agent.masks import PackedMasks
from core.api.layers import compact_owner
from core.plugins import Plugins
from plugins.testing.harness import agents
from plugins.testing.harness.agents import TinyRun

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.agent.agent import Agent

UPDATES = 50
Masks = Mapping[str, PackedMasks]


@dataclass(frozen=True)
class Trial:
    """A run of a scheme, from its first masks on."""

    run: TinyRun
    drawn: dict[str, PackedMasks]
    history: list[dict[str, PackedMasks]]
    """The masks after each update."""


def start(plugins: Plugins, mode: str, scheme: Mapping[str, Any], frames: int, **nodes: Any) -> Any:
    """A :class:`TinyRun` with the scheme; ``frames`` pass in :data:`UPDATES` updates."""
    values = agents.preset(mode, frames=frames, masks=[dict(scheme)], **nodes)
    return TinyRun(plugins, values, agents.SPECS[mode], stride=max(1, frames // UPDATES))


def attempt(run: TinyRun) -> Trial:
    """Train to the end, looking at the masks after each update."""
    drawn, history = dict(run.agent.masks.masks), []
    for _ in range(UPDATES):
        run.advance(1)
        history.append(dict(run.agent.masks.masks))
    return Trial(run, drawn, history)


# --- what is wrong ----------------------------------------------------------------------


def lively(agent: Agent) -> Iterator[str]:
    """Removed weights that are not exactly zero, or that an optimizer remembers something of.

    The targets' too. Layers that store living weights alone have none.
    """
    states: dict[int, Mapping[str, Any]] = {}
    for step in agent.learner.steps:
        if step.optimizer is not None:
            states |= {id(p): s for p, s in step.optimizer.state.items()}
    for role, networks in portable.copies(agent.loss, agent.parts.modules).items():
        masks = agent.masks.masks.get(role, PackedMasks())
        for network, name in ((n, name) for n in networks for name in masks):
            if compact_owner(network, name) is not None:
                continue
            where = f"{role}.{name}" + ("" if network is networks[0] else " of the target")
            removed = masks[name].logical_not()
            parameter = network.get_parameter(name)
            if bool(parameter.detach()[removed].any()):
                yield where
            for slot, value in states.get(id(parameter), {}).items():
                if _alike(value, parameter) and bool(value[..., removed].any()):
                    yield f"'{slot}' of {where}"


def _alike(value: Any, parameter: nn.Parameter) -> bool:
    shape = getattr(value, "shape", ())
    return len(shape) >= parameter.dim() and shape[-parameter.dim() :] == parameter.shape


def differing(first: Masks, second: Masks) -> float:
    """The share of entries in which two sets of masks differ; 1 if they are of other weights."""
    if {r: set(m) for r, m in first.items()} != {r: set(m) for r, m in second.items()}:
        return 1.0
    pairs = [(masks[n], second[r][n]) for r, masks in first.items() for n in masks]
    total = sum(mask.numel() for mask, _ in pairs)
    return sum(int((a != b).sum()) for a, b in pairs) / max(total, 1)


def misfits(masks: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> Iterator[str]:
    """Masks that are of no parameter, of another shape or of another type."""
    for name, mask in masks.items():
        if name not in shapes:
            yield f"there is no parameter '{name}'"
        elif not isinstance(mask, torch.Tensor) or mask.dtype is not torch.bool:
            yield f"'{name}' is {getattr(mask, 'dtype', type(mask).__name__)}, not torch.bool"
        elif mask.shape != shapes[name]:
            yield f"'{name}' is {list(mask.shape)}, its parameter {list(shapes[name])}"


def whole(masks: Masks) -> list[str]:
    """The networks of which every weight lives, by role."""
    return [
        role
        for role, named in masks.items()
        if all(named.kept(name) == named.shape(name).numel() for name in named)
    ]


def density_problems(masks: Masks, shapes: Mapping[str, Any], wanted: Any) -> Iterator[str]:
    """Parameters whose number of living weights is more than one off ``wanted``'s density."""
    for role, named in shapes.items():
        for name, shape in named.items():
            density = wanted(role, name, shape)
            if density is None:
                continue
            held = masks.get(role, PackedMasks())
            kept = held.kept(name) if name in held else shape.numel()
            if abs(kept - density * shape.numel()) > 1:
                yield f"{role}.{name} keeps {kept} of {shape.numel()}, not {density:g} of them"


class NoTensors(TorchFunctionMode):
    """Inside, whatever does anything with a tensor raises."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(getattr(func, "__name__", str(func)))
