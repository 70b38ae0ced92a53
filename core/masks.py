"""Which weights live: the masks of every network of an agent, by role and parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from core.randomness import derived_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.protocols import MaskScheme


@dataclass
class MaskSet:
    """The masks in force.

    ``masks[role][parameter]`` is a boolean tensor, True where the weight lives; parameters
    without an entry are dense. ``mask_seed`` is apart from the run's seed, so that one
    topology can be tried under several initialisations, and the other way round.
    """

    seed: int
    masks: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def draw(self, role: str, module: nn.Module, scheme: MaskScheme) -> dict[str, Tensor]:
        """Draw the masks of one network; the draw depends on the seed and the role only."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, role))
        parameters = dict(module.named_parameters())
        drawn = scheme.draw(parameters, generator)
        for name, mask in drawn.items():
            if name not in parameters or mask.shape != parameters[name].shape:
                raise ValueError(f"mask of '{role}.{name}' does not fit a parameter of that name")
        self.masks[role] = drawn
        return drawn

    def density(self, role: str, name: str) -> float:
        """Share of a parameter's weights that live, in (0, 1]."""
        mask = self.masks.get(role, {}).get(name)
        return 1.0 if mask is None else mask.count_nonzero().item() / mask.numel()

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "masks": self.masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over saved masks, in place where a backend already refers to them."""
        self.seed = state["seed"]
        for role, saved in state["masks"].items():
            current = self.masks.setdefault(role, {})
            for name, mask in saved.items():
                if name in current:
                    current[name].copy_(mask)
                else:
                    current[name] = mask


def removed_weights_are_zero(module: nn.Module, masks: Mapping[str, Tensor]) -> bool:
    """Whether every removed weight of ``module`` is exactly zero."""
    parameters = dict(module.named_parameters())
    return all(
        not bool((parameters[name].detach() * ~mask.to(parameters[name].device)).any())
        for name, mask in masks.items()
        if name in parameters
    )


@torch.no_grad()
def zero_removed(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Put every removed weight of ``module`` to exactly zero."""
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        parameters[name].masked_fill_(mask.logical_not().to(parameters[name].device), 0.0)


def kept(shapes: Mapping[str, torch.Size], masks: Mapping[str, Tensor]) -> int:
    """Parameters of one network that live, biases and norms included."""
    return sum(
        int(masks[name].count_nonzero()) if name in masks else shape.numel()
        for name, shape in shapes.items()
    )
