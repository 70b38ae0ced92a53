"""What the gradient of every weight would be, those that are removed included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn
from torch.nn import functional

from core.compact import substituted

if TYPE_CHECKING:
    from torch import Tensor

    from core.examining import Examined
    from core.learning import Phase


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
    role: str, network: nn.Module, phases: Sequence[Phase], examined: Examined
) -> dict[str, Tensor]:
    """The gradient of each parameter of ``network`` with two or more dimensions, dense.

    Of the sum of the objectives that train it, all at the present weights. A phase with
    eligibility traces counts as the mean over the batch of TD error times objective: what the
    update would follow if it had no trace. Parameters that no objective depends on have zeros.
    """
    with substituted(network, Expanded):
        weights = {n: p for n, p in network.named_parameters() if p.dim() >= 2}
        found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for objective in _objectives(role, network, phases, examined):
            gradients = torch.autograd.grad(
                objective, list(weights.values()), allow_unused=True, retain_graph=True
            )
            for total, gradient in zip(found.values(), gradients, strict=True):
                if gradient is not None:
                    total.add_(gradient)
    return found


def _objectives(
    role: str, network: nn.Module, phases: Sequence[Phase], examined: Examined
) -> Iterator[Tensor]:
    """The scalar objectives of the phases that train the network.

    Other phases run too, since later ones may read what they write.
    """
    batch = dict(examined.batch)
    if role == "encoder":
        batch["features"] = network(*examined.inputs[role])
    for phase in phases:
        if not phase.modules:
            continue
        trains = any(module is network for module in phase.modules)
        with torch.set_grad_enabled(trains):
            objective, _ = phase.run(batch)
        if not trains or objective is None:
            continue
        if phase.step is None:
            yield objective
        else:
            yield (phase.step(batch)["delta"].detach() * objective).mean()
