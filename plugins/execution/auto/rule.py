"""Which masked layers are worth storing compactly: by shape, density, batch and processor.

Nothing is measured when a run starts, so that the same run chooses the same again. The limits
are from measurements of two linear layers with a ReLU between them, forward and backward, over
densities, widths and batches (``python -m core bench-execution`` makes them for the machine at
hand). Up to the sure densities compact layers won wherever the width and the batch sufficed,
above the hopeless ones they gained next to nothing anywhere; between them the likelier form is
chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from plugins.execution.pattern.build import is_blocks

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["compact", "masked"]

NARROW = 64
"""Below it a layer's overheads outweigh its arithmetic."""
NARROW_ONLINE = 128
"""The same for one row at a time."""
ONLINE_DENSITY, ONLINE_DENSITY_LARGE = 0.25, 0.5
"""One row at a time, of weights that a core's cache holds, and of :data:`LARGE` ones."""
LARGE = 1 << 20
"""Weights that are read from memory: there their bytes count, and not the arithmetic."""
SURE_WIDTH, SURE_BATCH = 256, 32
GUESS_SIZE = 4096
"""Where the rule is unsure: compact from this width times batch on."""


@dataclass(frozen=True)
class Limits:
    """Densities between which the rule is unsure, and the one to go by there."""

    sure: float
    guess: float
    hopeless: float


SCATTERED = Limits(sure=0.3, guess=0.4, hopeless=0.75)
BLOCKS = Limits(sure=0.4, guess=0.5, hopeless=0.9)
"""Masks of whole 16 x 16 blocks."""
SCATTERED_AMX = Limits(sure=0.1, guess=0.2, hopeless=0.75)
"""Where dense products run in bfloat16 on matrix units, some 3 times faster."""
BLOCKS_AMX = Limits(sure=0.2, guess=0.3, hopeless=0.9)


@dataclass(frozen=True)
class LayerShape:
    """A masked linear layer, as far as its speed goes."""

    outputs: int
    inputs: int
    density: float
    """Share of its weights that live, in (0, 1]."""
    blocks: bool = False
    """What lives are whole 16 x 16 blocks."""


@dataclass(frozen=True)
class Setting:
    """What else a choice hangs on."""

    batch: int
    """Rows of a batch."""
    online: bool = True
    """A batch of one runs without autograd (:meth:`core.api.Execution.online`)."""
    device: str = "cpu"
    missing: str | None = None
    """What is wrong with the compiled kernels; None: they can be used."""
    matrix_units: bool = False
    """Dense float32 products run in bfloat16 on AMX (``float32_matmul_precision`` medium)."""

    @property
    def one_at_a_time(self) -> bool:
        """One row at a time, by the kernels that are for that."""
        return self.batch == 1 and self.online


@dataclass(frozen=True)
class Choice:
    """How a layer is stored, and why, in a sentence."""

    form: Form
    reason: str


def choose(chain: tuple[LayerShape, ...], setting: Setting) -> Choice:
    """The form of layers that run one after the other."""
    if setting.device != "cpu":
        return Choice("masked", f"on {setting.device}: the kernels are for the CPU")
    if setting.missing is not None:
        return Choice("masked", f"compiled kernels {setting.missing}")
    density, width = density_of(chain), width_of(chain)
    if setting.one_at_a_time:
        return _online(density, width, sum(layer.outputs * layer.inputs for layer in chain))
    return _batch(density, width, setting.batch, _limits(chain, setting))


def _batch(density: float, width: int, batch: int, limits: Limits) -> Choice:
    if width < NARROW:
        return Choice("masked", f"width {width} is below {NARROW}: overheads outweigh products")
    if density > limits.hopeless:
        return Choice(
            "masked",
            f"density {density:.2g} is above {limits.hopeless:g}: too few zeros to skip",
        )
    if density <= limits.sure and width >= SURE_WIDTH and batch >= SURE_BATCH:
        return Choice(
            "compact",
            f"density {density:.2g} is at most {limits.sure:g}, at width {width} "
            f"(at least {SURE_WIDTH}) and batch {batch} (at least {SURE_BATCH})",
        )
    return Choice(
        "compact" if density <= limits.guess and width * batch >= GUESS_SIZE else "masked",
        f"density {density:.2g}, width {width}, batch {batch}: not measured; compact is "
        f"likelier faster up to density {limits.guess:g}, from width times batch {GUESS_SIZE} on",
    )


def density_of(chain: tuple[LayerShape, ...]) -> float:
    """Share of the weights of all layers that live."""
    kept = sum(layer.outputs * layer.inputs * layer.density for layer in chain)
    return kept / sum(layer.outputs * layer.inputs for layer in chain)


def width_of(chain: tuple[LayerShape, ...]) -> int:
    """The smallest side of any layer."""
    return min(min(layer.outputs, layer.inputs) for layer in chain)


def _online(density: float, width: int, weights: int) -> Choice:
    limit = ONLINE_DENSITY_LARGE if weights >= LARGE else ONLINE_DENSITY
    case = f"one row at a time, {weights:,} weights"
    if width < NARROW_ONLINE:
        return Choice("masked", f"width {width} is below {NARROW_ONLINE}, {case}")
    if density > limit:
        return Choice("masked", f"density {density:.2g} is above {limit:g}, {case}")
    return Choice(
        "compact",
        f"density {density:.2g} is at most {limit:g} and width {width} at least {NARROW_ONLINE}, "
        f"{case}",
    )


def _limits(chain: tuple[LayerShape, ...], setting: Setting) -> Limits:
    if all(layer.blocks for layer in chain):
        return BLOCKS_AMX if setting.matrix_units else BLOCKS
    return SCATTERED_AMX if setting.matrix_units else SCATTERED


# --- the layers of a network ------------------------------------------------------------


def unsuitable(density: float, convertible: bool) -> str | None:
    """Why a parameter with a mask of this density can only be masked, or None."""
    if not convertible:
        return "not the weight of one plain linear layer"
    if density == 1:
        return "its mask keeps every weight"
    return None if density else "its mask keeps no weight"


def density_of_mask(mask: Tensor) -> float:
    """Share of its entries that are kept."""
    return mask.count_nonzero().item() / mask.numel()


def shape_of(mask: Tensor, density: float) -> LayerShape:
    """``mask`` is ``[outputs, inputs]``, boolean."""
    outputs, inputs = mask.shape
    return LayerShape(outputs, inputs, density, is_blocks(mask.cpu().numpy().view(np.uint8)))


def chains(shapes: Mapping[str, LayerShape], setting: Setting) -> Iterator[tuple[str, ...]]:
    """Names of weights that belong together: of one parent, each reading what the last gives.

    Such layers may run fused, so they get one answer. Narrow ones are by themselves.
    """
    chain: tuple[str, ...] = ()
    narrow = NARROW_ONLINE if setting.one_at_a_time else NARROW
    for name in shapes:
        if chain and not _follows(chain[-1], name, shapes, narrow):
            yield chain
            chain = ()
        chain += (name,)
    if chain:
        yield chain


def _follows(before: str, name: str, shapes: Mapping[str, LayerShape], narrow: int) -> bool:
    parents = [weight.rpartition(".")[0].rpartition(".")[0] for weight in (before, name)]
    fits = parents[0] == parents[1] and shapes[before].outputs == shapes[name].inputs
    return fits and min(width_of((shapes[before],)), width_of((shapes[name],))) >= narrow


def alike(chain: tuple[LayerShape, ...], other: tuple[LayerShape, ...]) -> bool:
    """Whether they differ in nothing but densities, and in these by little."""
    return [replace(layer, density=rounded(layer.density)) for layer in chain] == [
        replace(layer, density=rounded(layer.density)) for layer in other
    ]


def rounded(density: float) -> float:
    """To the nearest bucket: twelfths of a decade below a tenth, twentieths of 1 above."""
    if density >= 0.1:
        return round(round(density * 20) / 20, 2)
    return float(f"{10 ** (round(math.log10(density) * 12) / 12):.2g}")
