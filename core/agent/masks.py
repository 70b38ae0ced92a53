"""Which weights live: the masks of every network of an agent, by role and parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from core.agent.randomness import derived_seed
from core.api.layers import compact_owner

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api.masks import MaskScheme


@dataclass(frozen=True)
class _Packed:
    bits: Tensor
    """Of all entries in their order, eight to a byte, the first in the highest bit."""
    shape: torch.Size
    kept: int


@final
class PackedMasks(Mapping[str, "Tensor"]):
    """Boolean masks of one network by parameter name, kept in a bit an entry.

    Each look-up unpacks a mask anew, a byte an entry: do not hold on to all of them at once,
    and do not write into them, which changes nothing.
    """

    def __init__(self, masks: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> None:
        pairs = masks.items() if isinstance(masks, Mapping) else masks
        self._packed: dict[str, _Packed] = {}
        for name, mask in pairs:
            self._packed[name] = _pack(mask)
            del mask  # or it would be there while the next is drawn

    def __getitem__(self, name: str) -> Tensor:
        packed = self._packed[name]
        return unpacked(packed.bits, packed.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedMasks):
            return NotImplemented
        return self.keys() == other.keys() and all(
            packed.shape == other._packed[name].shape
            and torch.equal(packed.bits, other._packed[name].bits)
            for name, packed in self._packed.items()
        )

    __hash__ = None  # type: ignore[assignment]  # as of any mapping

    def shape(self, name: str) -> torch.Size:
        """Of one mask, without unpacking it."""
        return self._packed[name].shape

    def kept(self, name: str) -> int:
        """How many weights of a parameter live, without unpacking its mask."""
        return self._packed[name].kept

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """``bits`` and ``shape`` of every mask."""
        return {
            name: {"bits": packed.bits, "shape": list(packed.shape)}
            for name, packed in self._packed.items()
        }

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> PackedMasks:
        """Of :meth:`state_dict`."""
        return cls((name, unpacked(mask["bits"], mask["shape"])) for name, mask in saved.items())


def _pack(mask: Tensor) -> _Packed:
    if mask.dtype is not torch.bool:
        raise ValueError(f"a mask is of type bool, got {mask.dtype}")
    entries = mask.detach().cpu().numpy().ravel()
    bits = torch.from_numpy(np.packbits(entries))
    return _Packed(bits, mask.shape, int(np.count_nonzero(entries)))


def unpacked(bits: Tensor, shape: Iterable[int]) -> Tensor:
    """The boolean mask of this shape whose entries are ``bits``, eight to a byte.

    Raises:
        ValueError: there are not so many bits.
    """
    size = torch.Size(shape)
    if bits.dtype is not torch.uint8 or bits.shape != (-(-size.numel() // 8),):
        raise ValueError(f"bits of a mask {list(size)}, got {bits.dtype} {list(bits.shape)}")
    entries = np.unpackbits(bits.cpu().numpy(), count=size.numel())
    return torch.from_numpy(entries.view(np.bool_)).view(size)


@dataclass
class MaskSet:
    """The masks in force.

    ``masks[role][parameter]`` is a boolean tensor, True where the weight lives; parameters
    without an entry are dense. ``mask_seed`` is apart from the run's seed, so that one
    topology can be tried under several initialisations, and the other way round.
    """

    seed: int
    masks: dict[str, PackedMasks] = field(default_factory=dict)

    def draw(self, role: str, module: nn.Module, scheme: MaskScheme) -> PackedMasks:
        """Draw the masks of one network; the draw depends on the seed and the role only."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, role))
        parameters = dict(module.named_parameters())
        drawn = PackedMasks(scheme.draw(parameters, generator))
        for name in drawn:
            if name not in parameters or drawn.shape(name) != parameters[name].shape:
                raise ValueError(f"mask of '{role}.{name}' does not fit a parameter of that name")
        self.masks[role] = drawn
        return drawn

    def density(self, role: str, name: str) -> float:
        """Share of a parameter's weights that live, in (0, 1]."""
        masks = self.masks.get(role, PackedMasks())
        return masks.kept(name) / masks.shape(name).numel() if name in masks else 1.0

    def kept(self, role: str, shapes: Mapping[str, torch.Size]) -> int:
        """Parameters of one network that live, biases and norms included."""
        masks = self.masks.get(role, PackedMasks())
        return sum(
            masks.kept(name) if name in masks else shape.numel() for name, shape in shapes.items()
        )

    def state_dict(self) -> dict[str, Any]:
        masks = {role: masks.state_dict() for role, masks in self.masks.items()}
        return {"seed": self.seed, "masks": masks}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> MaskSet:
        """Of :meth:`state_dict`; backends have to be told of the masks, not by this."""
        saved = state["masks"].items()
        return cls(state["seed"], {role: PackedMasks.restored(masks) for role, masks in saved})


def removed_weights_are_zero(module: nn.Module, masks: Mapping[str, Tensor]) -> bool:
    """Whether every removed weight of ``module`` is exactly zero, or not stored at all."""
    parameters = dict(module.named_parameters())
    return all(
        not bool((parameters[name].detach() * ~masks[name].to(parameters[name].device)).any())
        for name in masks
        if name in parameters and compact_owner(module, name) is None
    )


@torch.no_grad()
def zero_removed(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Put every removed weight of ``module`` to exactly zero."""
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        parameters[name].masked_fill_(mask.logical_not().to(parameters[name].device), 0.0)
