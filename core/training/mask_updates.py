"""When masks change in training, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn
from torch.nn import functional

from core.agent.masks import PackedMasks
from core.agent.randomness import derived_seed, drawing_from
from core.agent.state import put_in_force
from core.api.errors import accusing
from core.api.layers import dense, dense_shape, substituted
from core.api.losses import Trained, objectives
from core.api.masks import DynamicMasks, Stateful

if TYPE_CHECKING:
    from torch import Tensor

    from core.api.diagnostics import BatchOptions
    from core.api.losses import AnalysisBatch, Phase
    from core.api.masks import MaskScheme
    from core.training.agent_view import CurrentAgent


NEVER = -1
"""The last frame of a scheme that has not changed a network's masks yet."""


@final
class MaskUpdates:
    """The mask schemes of a run that change masks, and the frame at which each last did."""

    def __init__(self, schemes: Mapping[str, MaskScheme] | None = None, seed: int = 0) -> None:
        """``schemes`` by the role of the network that each is for; ``seed`` is the run's."""
        self.schemes: dict[str, Any] = {
            role: scheme
            for role, scheme in (schemes or {}).items()
            if isinstance(scheme, DynamicMasks)
        }
        self._seed = seed
        self._last = dict.fromkeys(self.schemes, NEVER)

    @property
    def batches(self) -> list[BatchOptions | None]:
        """The transitions that schemes ask for."""
        return [scheme.batch for scheme in self.schemes.values()]

    def due(self, frame: int) -> list[str]:
        """The networks whose masks are to change before the next update, by role."""
        return [r for r, scheme in self.schemes.items() if scheme.due(self._last[r], frame)]

    def change(self, roles: Sequence[str], probe: CurrentAgent) -> Iterator[dict[str, float]]:
        """Change the masks of these networks; what to log of each, in turn.

        Those whose transitions are not there yet stay due.
        """
        for role in roles:
            scheme = self.schemes[role]
            if probe.has(scheme.batch):
                self._last[role] = probe.frame
                yield self._change(role, scheme, probe)

    def _change(self, role: str, scheme: DynamicMasks, probe: CurrentAgent) -> dict[str, float]:
        view = View(role, scheme, probe)
        before = probe.agent.masks.masks.get(role, PackedMasks())
        seed = derived_seed(self._seed, f"masks of {role} at {probe.frame}")
        what = f"while the masks of '{role}' were to change at frame {probe.frame}"
        with drawing_from(seed), accusing(scheme, what):
            changed = _checked(scheme.change(view), view)
        names = dict.fromkeys([*before, *changed])
        after = PackedMasks((n, changed[n] if n in changed else before[n]) for n in names)
        if after != before:
            put_in_force(probe.agent, role, after)
            probe.forget()
        return _report(role, view.shapes, before, after)

    def state_dict(self) -> dict[str, Any]:
        kept = {r: s.state_dict() for r, s in self.schemes.items() if isinstance(s, Stateful)}
        return {"last": dict(self._last), "schemes": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._last |= {role: last for role, last in state["last"].items() if role in self._last}
        for role, saved in state["schemes"].items():
            self.schemes[role].load_state_dict(saved)


@final
class View:
    """A network at the moment of a change; implements :class:`core.api.masks.MaskView`."""

    def __init__(self, role: str, scheme: DynamicMasks, probe: CurrentAgent) -> None:
        self.role = role
        self.frame = probe.frame
        self.masks: Mapping[str, Tensor] = probe.agent.masks.masks.get(role, PackedMasks())
        self._network = probe.networks[role]
        self.shapes = {
            n: dense_shape(self._network, n) for n, _ in self._network.named_parameters()
        }
        seed = derived_seed(probe.agent.masks.seed, f"{role} at {probe.frame}")
        self.generator = torch.Generator().manual_seed(seed)
        self._batch = scheme.batch
        self._probe = probe

    def weight(self, name: str) -> Tensor:
        return dense(self._network, name).detach()

    def gradients(self) -> dict[str, Tensor]:
        if self._batch is None:
            raise ValueError("a scheme that takes gradients must say of which 'batch'")
        phases = [phase for phase, _ in self._probe.phases]
        analysed = self._probe.batch(self._batch)
        return dense_gradients(self.role, self._network, phases, analysed)


def _checked(changed: Mapping[str, Tensor], view: View) -> PackedMasks:
    """Packed here, where whoever made them is still known if they are no masks."""
    for name, mask in changed.items():
        if name not in view.shapes or mask.shape != view.shapes[name]:
            raise ValueError(f"mask of '{view.role}.{name}' does not fit a parameter of that name")
    return PackedMasks(changed)


def _report(
    role: str,
    shapes: Mapping[str, torch.Size],
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> dict[str, float]:
    """Density over the parameters that have masks now, and how many weights came and went."""
    everything = torch.ones((), dtype=torch.bool)
    grown = dropped = kept = total = 0
    for name, new in after.items():
        old = before[name] if name in before else everything.expand(shapes[name])
        grown += int((new & ~old).count_nonzero())
        dropped += int((old & ~new).count_nonzero())
        kept += int(new.count_nonzero())
        total += new.numel()
    return {
        f"mask/density/{role}": kept / max(total, 1),
        f"mask/grown/{role}": float(grown),
        f"mask/dropped/{role}": float(dropped),
    }


@final
class Expanded(nn.Module):
    """Stands in for a compact layer: the same numbers by a dense weight."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.expanded(layer.weight.detach()))
        self.bias: nn.Parameter | None = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs] -> [..., outputs]``."""
        return functional.linear(x, self.weight, self.bias)


def dense_gradients(
    role: str, network: nn.Module, phases: Sequence[Phase], analysed: AnalysisBatch
) -> dict[str, Tensor]:
    """The gradient of each parameter of ``network`` with two or more dimensions, dense.

    Of the sum of the objectives that train it, all at the present weights. A phase with
    eligibility traces counts as the mean over the batch of TD error times objective: what the
    update would follow if it had no trace. Parameters that no objective depends on have zeros.
    """
    with substituted(network, Expanded):
        weights = {n: p for n, p in network.named_parameters() if p.dim() >= 2}
        found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for trained in objectives(phases, {role: network}, analysed):
            gradients = torch.autograd.grad(
                _scalar(trained), list(weights.values()), allow_unused=True, retain_graph=True
            )
            for total, gradient in zip(found.values(), gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient)
    return found


def _scalar(trained: Trained) -> Tensor:
    step = trained.phase.step
    if step is None:
        return trained.objective
    errors: Tensor = step(trained.after)["delta"].detach()
    return (errors * trained.objective).mean()
