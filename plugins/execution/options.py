"""Options of the execution backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MaskedOptions:
    """How the networks run."""

    native: bool = True
    """Run without autograd where that applies, which is one environment on the CPU with
    perceptrons or SimBa (``stream_mlp``, ``mlp``, ``simba``): the same numbers within rounding,
    many times faster. By compiled kernels; where these were not built there is a warning, and
    the phases of the update run on PyTorch, as they do everywhere else and with ``false``. The
    kernels are tested against these."""


@dataclass(frozen=True)
class SparseOptions:
    """How the networks run, where only kept weights are stored."""

    product: Literal["auto", "native", "densified"] = "auto"
    """How a compact layer is multiplied. ``native``: by compiled kernels, for float32 and float64
    on the CPU. ``densified``: its weight is scattered into a dense matrix for the duration of the
    product, which saves memory and no time; the same numbers within rounding. ``auto``: native
    where that can be, densified elsewhere (with a warning on a CPU without the kernels)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products of compact layers, forward and backward. ``bfloat16`` rounds both factors
    of each to 8 significant bits (a relative error of at most 2^-9) and sums in float32;
    weights, gradients and optimizer state stay float32. It shows what such products do to
    learning; it saves neither time nor memory, since rounded factors are multiplied as float32.
    One observation at a time then runs through autograd, since the kernels for that do not
    round."""
    native: bool = True
    """Run without autograd where that applies; see ``masked``."""


@dataclass(frozen=True)
class AutoOptions:
    """The form of each masked layer follows from a rule on shapes, densities, batch and
    processor; nothing is measured (``python -m core bench-execution`` measures). On a GPU all
    are masked: there ``sparse`` saves memory (compact state, dense products), at a speed that
    was never measured."""

    native: bool = True
    """Run without autograd where that applies; see ``masked``."""


@dataclass(frozen=True)
class BenchExecutionOptions:
    """A verb takes arguments, not options."""
